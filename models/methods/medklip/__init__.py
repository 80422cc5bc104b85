"""MedKLIP: its settings, and its network."""
