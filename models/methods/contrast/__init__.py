"""Methods that contrast images with reports beyond one vector each."""
