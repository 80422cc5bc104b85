"""Checkpoints, and what made them."""
