"""Blocks of remote files on the local disk: bounded in bytes, and shared by all processes of a machine.

A block is a file named by its SHA-256, so nothing can be out of date. It appears whole or not at all, and its bytes
are compared with its name before their first use in a process. Where the disk is full, where somebody removed the
folder or holds its lock for long, blocks are not kept. No read depends on the cache, so all of these only cost time.

The file `used_bytes` counts what the folder holds. It is also the lock of those who add to it, which the kernel frees
however its holder ended. A block that was read again has an empty file `NAME.used`, whose time is that of its last use.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from store.atomic import PARTIAL

USED = ".used"
COUNT = "used_bytes"
FETCHING = "fetching"  # folder of the locks of those who fetch a block
SPARE = 16  # the least recently used sixteenth is removed at once, so that not every block looks for the next
FREE = 1 << 30  # bytes of the disk that stay free for others
TOUCH_SECONDS = 60.0  # between two notes on the disk that a block was used
KEEP_SECONDS = 5.0  # longest wait for others who add a block; then it is not kept
FETCH_SECONDS = 30.0  # longest wait for another process that fetches the same block; then it is fetched twice
FIRST_POLL, LONGEST_POLL = 0.0002, 0.02  # seconds between two looks whether a lock is free


_State = tuple[int, int, int, int]


class Piece(NamedTuple):
    """Bytes of a block that are wanted."""

    start: int  # within the block
    into: memoryview


class BlockCache:
    """The blocks in `folder`, which together take at most `limit` bytes. Threads and processes may share it."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = Path(folder)
        self.limit = limit
        self._place = str(folder)
        self._verified: dict[str, _State] = {}
        self._last_use: dict[str, float] = {}
        self._noted: dict[str, float] = {}
        self._counted = False

    def has(self, digest: str) -> bool:
        """Whether a block is there; it may turn out to be damaged."""
        return os.path.exists(self._path(digest))

    def read(self, digest: str, pieces: Iterable[Piece]) -> bool:
        """Fill the buffer of each piece of a block; False where the block is not kept or not whole."""
        path = self._path(digest)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            if not self._is_verified(digest, descriptor):
                os.unlink(path)
                return False
            for start, into in pieces:
                if os.preadv(descriptor, [into], start) != len(into):
                    return False
        except OSError:
            return False
        finally:
            os.close(descriptor)
        self._note_use(digest)
        return True

    def keep(self, digest: str, content: bytes | memoryview) -> bool:
        """Keep a block, whose digest the caller has verified; returns whether it is kept.

        The blocks that were not used for the longest time make room for it.
        """
        try:
            return self._keep(digest, content)
        except FileNotFoundError:  # somebody removed the folder meanwhile
            with suppress(OSError):
                return self._keep(digest, content)
        except OSError:  # the disk is full, or may only be read
            pass
        return False

    def measure(self) -> int:
        """Bytes of all blocks, at a moment when none is added."""
        with _locked(self.folder / COUNT, KEEP_SECONDS):
            return sum(block.size for block in self._list_blocks())

    @contextmanager
    def fetching(self, digest: str) -> Iterator[None]:
        """For the time of the block be the only one who fetches `digest` and what goes with it, so that nothing is
        fetched twice; others go on after FETCH_SECONDS all the same."""
        if self.limit <= 0:
            yield
            return
        with _locked(self.folder / FETCHING / digest[:2], FETCH_SECONDS):
            yield

    def _path(self, digest: str) -> str:
        return f"{self._place}/{digest[:2]}/{digest}"

    def _is_verified(self, digest: str, descriptor: int) -> bool:
        state = _state_of(descriptor)
        if self._verified.get(digest) == state:
            return True
        with os.fdopen(os.dup(descriptor), "rb") as file:
            whole = hashlib.file_digest(file, "sha256").hexdigest() == digest
        if whole:
            self._verified[digest] = state
        return whole

    def _note_use(self, digest: str) -> None:
        now = time.time()
        self._last_use[digest] = now
        if now - self._noted.get(digest, 0.0) > TOUCH_SECONDS:
            self._noted[digest] = now
            with suppress(OSError):
                Path(self._path(digest) + USED).touch()

    def _keep(self, digest: str, content: bytes | memoryview) -> bool:
        path, size = Path(self._path(digest)), len(content)
        if size > self.limit:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(self.folder / COUNT, KEEP_SECONDS) as count:
            if count is None:
                return False
            if path.exists():
                return True
            used = self._make_room(count, size)
            if used is None:
                return False
            _write_count(count, used + size)
            self._write(path, content)
        self._last_use[digest] = self._noted[digest] = time.time()
        return True

    def _write(self, path: Path, content: bytes | memoryview) -> None:
        """Put a block in its place. After a power cut it may lack bytes, which its first reader finds."""
        partial = path.with_name(path.name + PARTIAL)
        try:
            with partial.open("wb", buffering=0) as file:
                left = memoryview(content)
                while left:
                    left = left[file.write(left) :]
                os.replace(partial, path)
                self._verified[path.name] = _state_of(file.fileno())
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def _make_room(self, count: int, size: int) -> int | None:
        """Bytes that the folder holds when there is room for `size` more; None where none can be made."""
        used = _read_count(count) if self._counted else None
        if used is None:
            used = sum(block.size for block in self._list_blocks())
            self._counted = True
        limit = min(self.limit, used + _free_bytes(self.folder) - FREE)
        if used + size <= limit:
            return used
        used = self._remove_oldest(min(limit - size, limit - limit // SPARE))
        return used if used + size <= limit else None

    def _remove_oldest(self, most: int) -> int:
        """Remove the blocks that were not used for the longest time until at most `most` bytes are left."""
        blocks = sorted(self._list_blocks(), key=lambda block: block.used)
        left = sum(block.size for block in blocks)
        for block in blocks:
            if left <= most:
                break
            block.path.unlink(missing_ok=True)
            block.path.with_name(block.path.name + USED).unlink(missing_ok=True)
            for known in (self._verified, self._last_use, self._noted):
                known.pop(block.path.name, None)  # type: ignore[attr-defined]
            left -= block.size
        return left

    def _list_blocks(self) -> list[_Block]:
        """The blocks that are there. To be called by the holder of the lock: a half-written one has no writer."""
        sizes: dict[str, tuple[Path, int]] = {}
        times: dict[str, float] = {}
        for folder in self.folder.iterdir():
            if len(folder.name) != 2:
                continue
            for entry in os.scandir(folder):
                if entry.name.endswith(PARTIAL):
                    Path(entry.path).unlink(missing_ok=True)
                    continue
                try:
                    stat = entry.stat()
                except OSError:
                    continue
                name = entry.name.removesuffix(USED)
                times[name] = max(times.get(name, 0.0), stat.st_mtime, self._last_use.get(name, 0.0))
                if name == entry.name:
                    sizes[name] = Path(entry.path), stat.st_size
        return [_Block(path, size, times[name]) for name, (path, size) in sizes.items()]


def _state_of(descriptor: int) -> _State:
    """What tells a file from every other, and from itself after any change."""
    found = os.fstat(descriptor)
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class _Block(NamedTuple):
    path: Path
    size: int
    used: float  # seconds since the epoch


@contextmanager
def _locked(path: Path, seconds: float) -> Iterator[int | None]:
    """The descriptor of the file `path`, locked for the time of the block; None where that took too long or failed."""
    descriptor = _take(path, time.monotonic() + seconds)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing alone leaves it to a process that was forked meanwhile
            os.close(descriptor)


def _take(path: Path, deadline: float) -> int | None:
    pause = FIRST_POLL
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:  # a file system without locks
            deadline = 0.0
        os.close(descriptor)
        if time.monotonic() > deadline:
            return None
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_POLL)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether a file that was opened still has its name: somebody may have removed the folder meanwhile."""
    return os.path.samestat(os.stat(path), os.fstat(descriptor))


def _read_count(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None


def _write_count(descriptor: int, used: int) -> None:
    os.pwrite(descriptor, f"{used:<31}\n".encode(), 0)


def _free_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
