"""Files appear whole or not at all: written beside their name, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"  # how a file is called until it is whole


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` to write to; it takes the place of `path` only when the block ends well.

    A killed process leaves the old file (and a stray `*.partial`, which no reader looks at).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
    try:
        yield partial
        _flush_to_disk(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    """Without this a power cut after the rename may leave an empty file under the final name."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
