"""Image and text encoders, from timm and transformers."""
