"""Pools: several datasets that one network is trained on at once."""
