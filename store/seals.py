"""Seals: a file that decides a number has its digest beside it, so that damage is noticed before the file is used.

The seal of `NAME` is `NAME.sha256`, in the format of sha256sum. A seal is removed before its file is replaced, and
written after it. A process that is killed in between leaves a file without a seal, which counts as not written.

There are two questions. `is_intact` is for planning and is quick: a file that was not touched since it was sealed is
not read. `expect_intact` is for reading a file for a number: its bytes are compared with the seal, once per process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from store.atomic import replacing, write_json
from store.digests import file_digest, known_digest
from store.errors import DamageError

SEAL = ".sha256"
DAMAGED = ".damaged"
LINE = re.compile(r"([0-9a-f]{64})  (.+)\n")


@contextmanager
def sealing(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` to write to, as `replacing` does, and seal the file when the block ends well."""
    with replacing(path) as partial:
        yield partial
        digest = file_digest(partial)
        seal_path(path).unlink(missing_ok=True)
    _write_seal(path, digest)


def seal(path: Path) -> str:
    """Seal a file as it is; returns its digest."""
    digest = file_digest(path)
    _write_seal(path, digest)
    return digest


def write_sealed_json(path: Path, value: Any) -> None:
    """Write a value as JSON, atomically, and seal the file."""
    seal_path(path).unlink(missing_ok=True)
    write_json(path, value)
    seal(path)


def seal_path(path: Path) -> Path:
    """Where the seal of a file lies."""
    return path.with_name(path.name + SEAL)


def sealed_digest(path: Path) -> str | None:
    """The digest in the seal of a file; None where there is none, or none of this file."""
    try:
        line = LINE.fullmatch(seal_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return line[1] if line and line[2] == path.name else None


def is_intact(path: Path) -> bool:
    """Whether a file is there as it was sealed. A file that was touched after its seal is read, others are not."""
    digest = sealed_digest(path)
    if digest is None or not path.is_file():
        return False
    if path.stat().st_ctime_ns < seal_path(path).stat().st_ctime_ns:  # the clock of a disk ticks every few milliseconds
        return True
    if known_digest(path) != digest:
        return False
    os.utime(seal_path(path))  # the next time it need not be read
    return True


def expect_intact(path: Path, remedy: str) -> Path:
    """`path`, whose bytes are those that were sealed.

    Raises:
        DamageError: they are not. The file is set aside. The message ends with `remedy`: how it is made again.
    """
    digest = sealed_digest(path)
    if not path.is_file():
        raise DamageError(f"{path} is missing; {remedy}")
    if digest is None:
        raise DamageError(f"{path} has no {SEAL} file with its digest, so it is not used; {remedy}")
    if known_digest(path) != digest:
        aside = set_aside(path)
        raise DamageError(f"{path} was changed after it was written and is set aside as {aside.name}; {remedy}")
    return path


def set_aside(path: Path) -> Path:
    """Rename a damaged file to `NAME.damaged`, where no reader looks, and remove its seal; returns the new name."""
    aside = path.with_name(path.name + DAMAGED)
    if path.exists():
        os.replace(path, aside)
    seal_path(path).unlink(missing_ok=True)
    return aside


def unlink(path: Path) -> None:
    """Remove a file and its seal."""
    seal_path(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _write_seal(path: Path, digest: str) -> None:
    with replacing(seal_path(path)) as partial:
        partial.write_text(f"{digest}  {path.name}\n", encoding="utf-8")
