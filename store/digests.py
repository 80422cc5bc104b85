"""Digests of files and of values."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

_known: dict[tuple[int, ...], str] = {}  # state of a file -> its digest


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_digest(path: Path) -> str:
    """SHA-256 of a file, computed once in a process as long as the file is not touched.

    The time of the last change of the inode counts. Unlike the time of modification, nobody can set it back.
    """
    with Path(path).open("rb") as file:
        state = _state(file.fileno())
        if state not in _known:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if _state(file.fileno()) != state:  # somebody wrote meanwhile
                return digest
            _known[state] = digest
        return _known[state]


def _state(descriptor: int) -> tuple[int, ...]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def fingerprint(*parts: Any) -> str:
    """Digest of anything JSON can write; equal content gives equal digests in every process."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]
