"""Errors about methods and saved networks."""

from __future__ import annotations


class ModelError(ValueError):
    """A network cannot be built or loaded; the message is one sentence for the user."""
