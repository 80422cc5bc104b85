"""Errors of MLflow that a user can mend."""

from __future__ import annotations

from store.errors import UserError


class TrackingError(UserError):
    """MLflow cannot record or tell something; the message is one sentence for the user."""


class StoreBusyError(TrackingError):
    """The store cannot be used now; it may work later."""
