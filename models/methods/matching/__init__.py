"""Methods that tell an image's report from others without a softmax over the batch."""
