"""What can go wrong with a store, each said in one sentence without credentials."""

from __future__ import annotations

from store.errors import UserError


class StoreError(UserError):
    """The store does not do what is asked of it."""


class LeaseLostError(StoreError):
    """Another writer holds the lease by now, so that this one may publish nothing more."""
