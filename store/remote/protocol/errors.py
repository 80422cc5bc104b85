"""What can go wrong with a store, each said in one sentence without credentials."""

from __future__ import annotations

from store.errors import UserError


class StoreError(UserError):
    """The store does not do what is asked of it."""

    @classmethod
    def of_changed(cls, name: str) -> StoreError:
        """The sentence for a file that comes with other wrong bytes each time."""
        return cls(
            f"{name} comes from the store with other wrong bytes each time it is fetched, so something on the way "
            "changes them: check the network, or a proxy before the store, then give the same command again."
        )


class LeaseLostError(StoreError):
    """Another writer holds the lease by now, so that this one may publish nothing more."""

    @classmethod
    def of(cls, lease: str) -> LeaseLostError:
        """The sentence for the lease of this name."""
        return cls(
            f"Another run has taken over {lease}, because this one did not renew its lease in time, and this one "
            "publishes nothing more: give the same command again, which goes on from what is there."
        )
