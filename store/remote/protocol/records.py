"""What is published of a file: the digest of its content, its size, and the digests of its blocks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

OBJECTS = "objects/"
DIGEST = re.compile("[0-9a-f]{64}")
BLOCK = 1 << 20  # bytes, the unit in which parts of a file are read and verified


@dataclass(frozen=True)
class FileRecord:
    """A file by its content."""

    sha256: str  # hexadecimal
    size: int  # bytes
    blocks: tuple[str, ...] = ()  # SHA-256 of each block; none for a file that is no longer than one

    @classmethod
    def of(cls, path: Path) -> FileRecord:
        """Read a file once for all digests."""
        with path.open("rb") as file:
            return cls.of_content(file)

    @classmethod
    def of_content(cls, file: BinaryIO) -> FileRecord:
        """Read what is left of an open file."""
        whole, size, blocks = hashlib.sha256(), 0, []
        while block := file.read(BLOCK):
            whole.update(block)
            size += len(block)
            blocks.append(hashlib.sha256(block).hexdigest())
        return cls(whole.hexdigest(), size, tuple(blocks) if len(blocks) > 1 else ())

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> FileRecord:
        """The record of `to_json`; others raise KeyError, TypeError or ValueError."""
        digest, size = str(stored["sha256"]), int(stored["size"])
        if not DIGEST.fullmatch(digest) or size < 0:
            raise ValueError("no digest and size of a file")
        return cls(digest, size, tuple(stored.get("blocks", ())))

    def to_json(self) -> dict[str, Any]:
        """The record as values that JSON can write."""
        return {"sha256": self.sha256, "size": self.size, **({"blocks": list(self.blocks)} if self.blocks else {})}

    @property
    def key(self) -> str:
        """The name of the object with this content, relative to the home."""
        return f"{OBJECTS}{self.sha256[:2]}/{self.sha256}"


@dataclass(frozen=True)
class Located:
    """Where the bytes of a file of the mirror are in the store."""

    key: str  # of the object, in the bucket
    record: FileRecord
