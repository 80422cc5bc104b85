"""Losses of pairs against negatives: other views, keys of a queue, and the hardest texts."""
