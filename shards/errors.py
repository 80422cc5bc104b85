"""What goes wrong with shards, said in one sentence."""

from __future__ import annotations


class ShardError(Exception):
    """A shard, its manifest or the tables it is built from cannot be used; the message is one sentence."""
