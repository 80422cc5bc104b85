"""MGCA: its settings, and its network."""
