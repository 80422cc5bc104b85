"""What goes wrong with shards, said in one sentence."""

from __future__ import annotations

from store.errors import UserError


class ShardError(UserError):
    """A shard, its manifest or the tables it is built from cannot be used; the message is one sentence."""
