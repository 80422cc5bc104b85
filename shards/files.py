"""Opens shards wherever they are: the file on this machine where it is whole, else the one in the store, by ranges."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from io import RawIOBase
from pathlib import Path

from shards.errors import ShardError
from store.digests import known_digest
from store.remote.mirror import is_kept, open_ranged, published_digest, read_ranged


def is_there(path: Path) -> bool:
    """Whether a shard can be read."""
    return path.is_file() or is_kept(path)


def open_shard(path: Path) -> Path | RawIOBase:
    """What pyarrow reads a shard from. One that is nowhere is the path itself, which cannot be opened."""
    return path if path.is_file() else open_ranged(path) or path


def shard_digest(path: Path) -> str:
    """SHA-256 of a shard: of its bytes here, read once in a process, or of those that were published.

    Of a published shard each block is compared with its own digest when it is read.
    """
    published = None if path.is_file() else published_digest(path)
    return published or known_digest(path)


def read_pieces(wanted: Mapping[Path, Iterable[tuple[int, memoryview]]]) -> None:
    """Of each shard that is not on this machine fill buffers with its bytes from their offsets on.

    Raises:
        ShardError: a shard is not in the store either.
        UserError: as `store.remote.ranged.read_pieces`.
    """
    missing = read_ranged(wanted)
    if missing:
        raise ShardError(f"The shard {missing} cannot be opened ({os.strerror(errno.ENOENT)}); build it again.")
