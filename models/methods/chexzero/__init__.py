"""CheXzero: its settings, and its network."""
