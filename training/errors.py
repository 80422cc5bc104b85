"""Errors of the training."""

from __future__ import annotations

FAILURE = "failure.txt"  # in the run's folder: the sentence that ended it, for whoever launched it


class TrainingError(Exception):
    """A run cannot go on; the message is one sentence for the user."""
