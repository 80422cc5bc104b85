"""Pixels: decoding, letterboxing and batch augmentation of radiographs."""
