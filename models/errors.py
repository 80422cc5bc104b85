"""Errors about methods and saved networks."""

from __future__ import annotations

from store.errors import UserError


class ModelError(UserError, ValueError):
    """A network cannot be built or loaded; the message is one sentence for the user."""
