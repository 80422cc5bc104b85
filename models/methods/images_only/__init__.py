"""Methods that read images alone: what is gained by reports shows beside them."""
