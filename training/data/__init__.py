"""What a training step reads: pairs of images and texts or targets."""
