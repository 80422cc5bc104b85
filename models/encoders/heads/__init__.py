"""What stands behind an encoder: projections and pooling."""
