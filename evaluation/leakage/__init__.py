"""Checks whether test data was seen before."""
