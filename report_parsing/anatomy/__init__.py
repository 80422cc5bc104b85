"""Anatomic locations in a sentence."""
