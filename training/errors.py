"""Errors of the training, and what a trainer and its launcher tell each other."""

from __future__ import annotations

from store.errors import UserError

FAILURE = "failure.txt"  # in the run's folder: the sentence that ended it, for whoever launched it
PARENT = "RADALIGN_STARTED_BY"  # in the environment of a trainer: the process that started it, and with which it ends


class TrainingError(UserError):
    """A run cannot go on; the message is one sentence for the user."""


class FolderBusyError(TrainingError):
    """Another training holds the run's folder."""


class PeerLostError(Exception):
    """Another process of the run is gone; the message is one sentence. Whoever starts the run again goes on."""
