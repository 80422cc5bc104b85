"""Parts of networks that bring images and texts, or regions of an image, together."""
