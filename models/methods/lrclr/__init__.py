"""LRCLR: its settings, and its network."""
