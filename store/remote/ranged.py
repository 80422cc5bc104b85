"""Reads files of the store piece by piece, by ranged requests, as if they lay on the disk.

A file is divided into blocks, whose digests were stored when it was published. A block is fetched when its first byte
is wanted, compared with its digest, and kept in the cache. Neighbouring blocks that are missing are one request. One
that differs from its digest is fetched again: the same wrong bytes twice are DamageError, as the object is damaged, and
wrong bytes that differ each time are StoreError, as something on the way changes them. No byte of either is used.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from store.errors import DamageError
from store.remote.cache import BlockCache, Piece
from store.remote.protocol.errors import StoreError
from store.remote.protocol.objects import TRIES

logger = logging.getLogger(__name__)

UNIT_BYTES = 4 << 20  # what is fetched together where a byte is missing, unless it is kept
LEAST_UNITS = 16  # that a cache has to hold, or blocks are fetched one by one
REQUEST_BYTES = 16 << 20  # most that one request asks for
REQUESTS = 8  # at once

Fetch = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Source:
    """A file of the store: what was published of it, and how its bytes are fetched."""

    name: str  # as the user knows it
    size: int  # bytes
    block_bytes: int
    block_digests: Sequence[str]  # SHA-256 of each block; the last one may be shorter
    fetch: Fetch  # the bytes from start to stop; it tries again what fails for the moment
    reject: Callable[[], object] = lambda: None  # what is done with a file that is damaged there

    def __post_init__(self) -> None:
        if len(self.block_digests) != -(-self.size // self.block_bytes):
            raise DamageError(
                f"The store has {len(self.block_digests)} digests of blocks of {self.name}, which do not fit its "
                f"{self.size} bytes, so it is not read; give the command again that made it."
            )

    def start_of(self, block: int) -> int:
        """Where a block begins; that of the block after the last one is the size of the file."""
        return min(block * self.block_bytes, self.size)


class RangedFile(io.RawIOBase):
    """A file of the store, open for reading."""

    def __init__(self, source: Source, cache: BlockCache, unit_bytes: int = UNIT_BYTES) -> None:
        super().__init__()
        self.source = source
        self.cache = cache
        roomy = cache.limit >= LEAST_UNITS * unit_bytes
        self.unit = max(1, unit_bytes // source.block_bytes) if roomy else 1  # blocks that are fetched together
        self.most = self.unit * max(1, REQUEST_BYTES // (self.unit * source.block_bytes))  # blocks of one request
        self._position = 0
        self._streak = 0  # bytes that were read one after the other until now
        self._held: dict[int, memoryview] = {}  # blocks of the last request that the cache did not take

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.source.size

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position of the next `read`."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position of the next `read`."""
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if position < 0:
            raise ValueError(f"negative position {position}")
        if position != self._position:
            self._streak = 0
        self._position = position
        return position

    def readinto(self, buffer: memoryview | bytearray) -> int:  # type: ignore[override]
        """Read up to as many bytes as the buffer has; fewer only at the end of the file."""
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self.size - self._position))
        if count:
            _read_all([_Wanted(self, [(self._position, view[:count])], ahead=self._streak)])
            self._position += count
            self._streak += count
        return count


def read_pieces(files: Iterable[tuple[RangedFile, Iterable[tuple[int, memoryview]]]]) -> None:
    """Of each file fill buffers with its bytes from their offsets on; all of them lie within the file.

    Missing blocks are fetched several at a time. Threads may share files.

    Raises:
        DamageError: the store holds other bytes than were published.
        StoreError: it does not give them.
    """
    _read_all([_Wanted(file, pieces) for file, pieces in files])


class _Wanted:
    """What is wanted of a file, block by block."""

    def __init__(self, file: RangedFile, pieces: Iterable[tuple[int, memoryview]], ahead: int = 0) -> None:
        """`ahead`: bytes beyond the last one that are fetched with it, if it has to be, up to one request."""
        self._file, self._source, self._cache = file, file.source, file.cache
        self._ahead = ahead
        self._pieces: dict[int, list[Piece]] = {}
        for offset, into in pieces:
            self._divide(offset, into)

    def runs_to_fetch(self) -> list[range]:
        """Copy what is kept; the blocks to look for in the store, neighbours together."""
        missing = [block for block in sorted(self._pieces) if not self._is_here(block)]
        return list(self._join(self._widen(missing)))

    def fetch(self, run: range) -> None:
        """Copy the blocks of a run, after fetching those that nobody else has fetched meanwhile."""
        first = run.start - run.start % self._file.most
        with self._cache.fetching(self._source.block_digests[first]):
            missing = [block for block in run if not self._is_here(block)]
            for part in self._join(missing):
                self._take(_fetch_blocks(self._source, part))

    def _take(self, fetched: Iterable[tuple[int, memoryview]]) -> None:
        """Keep and copy blocks that came from the store, if their bytes are the right ones."""
        held = {}
        for block, content in fetched:
            digest = self._source.block_digests[block]
            if not _has_digest(content, digest):
                if block not in self._pieces:
                    continue
                content = _fetch_again(self._source, block, content)
            if not self._cache.keep(digest, content):
                held[block] = content
            self._copy(block, content)
        self._file._held = held

    def _divide(self, offset: int, into: memoryview) -> None:
        if offset < 0 or offset + len(into) > self._source.size:
            raise ValueError(f"{self._source.name} has {self._source.size} bytes, not {offset} + {len(into)}")
        while len(into):
            block, start = divmod(offset, self._source.block_bytes)
            piece = Piece(start, into[: self._source.block_bytes - start])
            self._pieces.setdefault(block, []).append(piece)
            offset, into = offset + len(piece.into), into[len(piece.into) :]

    def _is_here(self, block: int) -> bool:
        """Copy what is wanted of a block, if it is kept."""
        digest, held = self._source.block_digests[block], self._file._held.get(block)
        if block not in self._pieces:
            return held is not None or self._cache.has(digest)
        if held is None:
            return self._cache.read(digest, self._pieces[block])
        self._copy(block, held)
        return True

    def _copy(self, block: int, content: memoryview) -> None:
        for start, into in self._pieces.get(block, ()):
            into[:] = content[start : start + len(into)]

    def _widen(self, missing: Sequence[int]) -> list[int]:
        """The blocks that are fetched where some are missing: their units, and those ahead."""
        if not missing:
            return []
        unit, end = self._file.unit, len(self._source.block_digests)
        blocks = {other for block in missing for other in range(block - block % unit, block - block % unit + unit)}
        after = max(blocks) + 1
        blocks.update(range(after, after + min(self._ahead // self._source.block_bytes, self._file.most - unit)))
        return sorted(block for block in blocks if block < end)

    def _join(self, blocks: Sequence[int]) -> Iterator[range]:
        """Runs of neighbours, each of one request; no run crosses a multiple of their most."""
        first = 0
        for place in range(1, len(blocks) + 1):
            ends = place == len(blocks) or blocks[place] != blocks[place - 1] + 1
            if ends or blocks[place] % self._file.most == 0:
                yield range(blocks[first], blocks[place - 1] + 1)
                first = place


def _read_all(wanted: Sequence[_Wanted]) -> None:
    runs = [(one, run) for one in wanted for run in one.runs_to_fetch()]
    if len(runs) < 2:
        for one, run in runs:
            one.fetch(run)
        return
    with ThreadPoolExecutor(min(REQUESTS, len(runs)), thread_name_prefix="ranged") as pool:
        done = [pool.submit(one.fetch, run) for one, run in runs]
        try:
            for future in done:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch_blocks(source: Source, run: range) -> Iterator[tuple[int, memoryview]]:
    """The blocks of a run as they come from the store."""
    start = source.start_of(run.start)
    content = memoryview(source.fetch(start, source.start_of(run.stop)))
    for block in run:
        yield block, content[source.start_of(block) - start : source.start_of(block + 1) - start]


def _fetch_again(source: Source, block: int, wrong: memoryview) -> memoryview:
    """A block whose bytes came `wrong`; DamageError where the store has them so, StoreError where only the way does."""
    start, stop = source.start_of(block), source.start_of(block + 1)
    logger.warning("Bytes %d to %d of %s came changed from the store; fetching them again.", start, stop, source.name)
    seen = [wrong]
    for _ in range(TRIES - 1):
        content = memoryview(source.fetch(start, stop))
        if _has_digest(content, source.block_digests[block]):
            return content
        if content in seen:
            source.reject()
            raise DamageError(
                f"Bytes {start} to {stop} of {source.name} are not those that were published, so it is set aside in "
                "the store; give the same command again, which makes it again."
            )
        seen.append(content)
    raise StoreError.of_changed(source.name)


def _has_digest(content: memoryview, digest: str) -> bool:
    return hashlib.sha256(content).hexdigest() == digest
