"""Images that were sent, in memory alone: an upload has no name on any disk, and goes when it is closed.

The room for all of them together is bounded, in requests and in bytes.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType

from radalign.errors import RadalignError

MIB = 1 << 20
MOST_REQUESTS = 8  # under way at once
MOST_BYTES = 200 * MIB  # of one image
UPLOADS_IN_ROOM = 2  # of the largest size that fit at once


class TooLargeError(RadalignError):
    """What was sent has more bytes than are taken."""


class FullError(RadalignError):
    """There is no room for another request now."""


class Upload:
    """The bytes of one image in anonymous memory, with a path by which a process of the same user opens them."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("upload", os.MFD_CLOEXEC)
        self.size = 0

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._descriptor)

    @property
    def path(self) -> Path:
        """Where the decoders find it."""
        return Path(f"/proc/{os.getpid()}/fd/{self._descriptor}")

    def write(self, content: bytes) -> None:
        """Append bytes."""
        left = memoryview(content)
        while left:
            left = left[os.write(self._descriptor, left) :]
        self.size += len(content)


class Room:
    """What requests may take at once. Used from the thread of the event loop only."""

    def __init__(self, most_bytes: int = MOST_BYTES, most_requests: int = MOST_REQUESTS) -> None:
        self.most_bytes, self.most_requests = most_bytes, most_requests
        self.requests = self.bytes = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Place]:
        """A place for one request; FullError where all are taken."""
        if self.requests >= self.most_requests:
            raise FullError(f"{self.most_requests} requests are under way; ask again in a moment.")
        self.requests += 1
        place = Place(self)
        try:
            yield place
        finally:
            self.requests -= 1
            self.bytes -= place.taken


class Place:
    """One request's part of the room."""

    def __init__(self, room: Room) -> None:
        self._room, self.taken = room, 0

    @property
    def most_bytes(self) -> int:
        """Of one image."""
        return self._room.most_bytes

    def take(self, size: int) -> None:
        """Room for so many further bytes; FullError where there is none."""
        if self._room.bytes + size > UPLOADS_IN_ROOM * self._room.most_bytes:
            raise FullError("Other images are being read and there is no room for this one; send it again in a moment.")
        self._room.bytes += size
        self.taken += size

    async def receive(
        self, announced: str, parts: AsyncIterable[bytes], most: int, write: Callable[[bytes], object]
    ) -> None:
        """Write the parts of a body of no more than `most` bytes; `announced` is its header Content-Length."""
        if announced.isdigit() and int(announced) > most:
            raise _too_large(most)
        received = 0
        async for part in parts:
            received += len(part)
            if received > most:
                raise _too_large(most)
            self.take(len(part))
            write(part)


def _too_large(most: int) -> TooLargeError:
    return TooLargeError(f"What was sent has more than {most / MIB:.0f} MiB, the most that is read here (--limit).")
