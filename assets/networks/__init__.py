"""Assets of networks: those that are trained, and those that are imported."""
