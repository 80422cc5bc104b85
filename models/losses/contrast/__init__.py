"""Losses of methods that contrast images with texts beyond the pairs of a batch."""
