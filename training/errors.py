"""What goes wrong in training, said in one sentence."""

from __future__ import annotations


class TrainingError(Exception):
    """A run cannot go on; the message is one sentence for the user."""
