"""What happens to a file on a disk: every kind of damage that a reader has to notice."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from store.seals import seal_path


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(bytes(content))


def flip_and_keep_times(path: Path) -> None:
    before = path.stat()
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def unseal(path: Path) -> None:
    seal_path(path).unlink()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "truncated": truncate,
    "emptied": empty,
    "deleted": Path.unlink,
    "one byte": flip,
    "one byte, times kept": flip_and_keep_times,
    "unsealed": unseal,
}


def replace_by(path: Path, other: Path) -> None:
    """Put another file in the place of `path`, with a seal that says that it belongs there."""
    path.write_bytes(other.read_bytes())
    seal_path(path).write_text(seal_path(other).read_text().replace(other.name, path.name))
