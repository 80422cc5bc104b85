"""Which files of a remote home are read by ranges, and the cache that their blocks share.

Two variables are read once in a process. RADALIGN_CACHE_BYTES is the most that the cache takes on the disk; 0 is none.
RADALIGN_FETCH_BYTES is how much is fetched at once where one byte is missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, overload

from store.errors import SettingError
from store.remote.cache import BlockCache
from store.remote.protocol.records import BLOCK, FileRecord
from store.remote.ranged import UNIT_BYTES, RangedFile, Source, read_pieces

if TYPE_CHECKING:
    from store.remote.home import RemoteHome

CACHE_VARIABLE, FETCH_VARIABLE = "RADALIGN_CACHE_BYTES", "RADALIGN_FETCH_BYTES"
CACHE_BYTES = 20e9
FOLDER = "blocks"

Pieces = Iterable[tuple[int, memoryview]]


class Ranges:
    """The files of a remote home, as far as they are not in its mirror. Threads may share it."""

    def __init__(self, home: RemoteHome, own: Path) -> None:
        """`own` is the folder of the mirror that only its keeper reads."""
        self._home, self._folder = home, own / FOLDER
        self._sources: dict[str, Source] = {}

    @cached_property
    def cache(self) -> BlockCache:
        """The blocks that were fetched, for all processes of this machine that use the mirror."""
        return BlockCache(self._folder, cache_bytes())

    @cached_property
    def unit_bytes(self) -> int:
        """Bytes that are fetched at once."""
        return fetch_bytes()

    def open(self, path: Path) -> RangedFile | None:
        """A file to be read by ranges; None where the store has none."""
        source = self._sources.get(str(path)) or self._find(path)
        return RangedFile(source, self.cache, self.unit_bytes) if source else None

    def read(self, wanted: Mapping[Path, Pieces]) -> Path | None:
        """Of each file fill buffers with its bytes from their offsets on; returns a file that the store has not."""
        files = []
        for path, pieces in wanted.items():
            file = self.open(path)
            if file is None:
                return path
            files.append((file, pieces))
        read_pieces(files)
        return None

    def _find(self, path: Path) -> Source | None:
        found = self._home.fetching.locate(path)
        if found is None:
            return None
        record = found.record
        fetch = partial(self._home.objects.read_range, found.key)
        name = f"{self._home.address_name}/{os.path.relpath(path, self._home.mirror)}"
        reject = partial(self._reject, path)
        self._sources[str(path)] = Source(name, record.size, BLOCK, _Digests(record), fetch, reject)
        return self._sources[str(path)]

    def _reject(self, path: Path) -> None:
        self._sources.pop(str(path), None)
        self._home.fetching.reject(path)


class _Digests(Sequence[str]):
    """The digests of the blocks of a file, in half the memory of text: an archive may have millions."""

    def __init__(self, record: FileRecord) -> None:
        blocks = record.blocks or (record.sha256,) * (record.size > 0)
        self._bytes = bytes.fromhex("".join(blocks))

    def __len__(self) -> int:
        return len(self._bytes) // 32

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        if isinstance(place, slice):
            return [self[one] for one in range(len(self))[place]]
        return self._bytes[32 * place : 32 * place + 32].hex()


def cache_bytes() -> int:
    """The limit of the cache; SettingError where its variable says none."""
    return _bytes_of(CACHE_VARIABLE, CACHE_BYTES, 0)


def fetch_bytes() -> int:
    """What is fetched at once; SettingError where its variable says none."""
    return _bytes_of(FETCH_VARIABLE, UNIT_BYTES, 1)


def _bytes_of(variable: str, default: float, least: int) -> int:
    """What a variable of the environment says; SettingError where it is no number of bytes."""
    given = os.environ.get(variable, "")
    try:
        found = int(float(given or default))
    except (ValueError, OverflowError):
        found = -1
    if found < least:
        raise SettingError(f"{variable} is {given!r}, but must be a number of bytes of at least {least}, such as 20e9.")
    return found
