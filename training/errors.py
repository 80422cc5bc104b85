"""Errors of the training."""

from __future__ import annotations

from store.errors import UserError

FAILURE = "failure.txt"  # in the run's folder: the sentence that ended it, for whoever launched it


class TrainingError(UserError):
    """A run cannot go on; the message is one sentence for the user."""
