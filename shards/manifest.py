"""What a folder of shards holds, and the digest of that: the data version which runs and results record.

The digest of a shard is the SHA-256 of its file. Files are written deterministically, so equal content gives
equal digests as long as the same pyarrow writes them (Parquet stores the writer's version). The digest of the
manifest is the SHA-256 of its canonical JSON (sorted keys, no white space), shards sorted by name.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow.parquet as pq

from shards.atomic import replacing
from shards.errors import ShardError
from shards.schema import SCHEMA_VERSION

FILE_NAME = "manifest.json"


@dataclass(frozen=True)
class ShardEntry:
    """One shard: its file name, row count, digest and rows per split."""

    file: str
    rows: int
    digest: str
    splits: Mapping[str, int]

    @classmethod
    def of(cls, path: Path) -> ShardEntry:
        """Describe the shard at `path`."""
        splits = Counter(pq.read_table(path, columns=["split"])["split"].to_pylist())
        return cls(path.name, splits.total(), file_digest(path), dict(sorted(splits.items())))


@dataclass(frozen=True)
class Manifest:
    """The shards of one cohort, all of one image size and one vocabulary."""

    cohort: str
    schema_version: str
    size: int
    entities: tuple[str, ...]
    positions: tuple[str, ...]
    shards: tuple[ShardEntry, ...]

    @property
    def rows(self) -> int:
        """Image-report pairs in all shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def splits(self) -> dict[str, int]:
        """Image-report pairs per split."""
        total: Counter[str] = Counter()
        for shard in self.shards:
            total.update(shard.splits)
        return dict(sorted(total.items()))

    @property
    def digest(self) -> str:
        """The data version."""
        canonical = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def write(self, folder: Path) -> Path:
        """Write `manifest.json` into `folder`, atomically."""
        path = Path(folder) / FILE_NAME
        with replacing(path) as partial:
            content = {**asdict(self), "rows": self.rows, "digest": self.digest}
            partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
        return path

    @classmethod
    def load(cls, folder: Path, verify: bool = False) -> Manifest:
        """Read the manifest of `folder`; with `verify`, also compare every shard with its digest."""
        path = Path(folder) / FILE_NAME
        if not path.is_file():
            raise ShardError(f"There is no {FILE_NAME} in {folder}; build the shards first.")
        manifest = cls._parse(path)
        for shard in manifest.shards:
            if not (path.parent / shard.file).is_file():
                raise ShardError(f"The shard {shard.file} of {path} is missing; build the shards again.")
            if verify and file_digest(path.parent / shard.file) != shard.digest:
                raise ShardError(f"The shard {shard.file} differs from its digest in {path}; build it again.")
        return manifest

    @classmethod
    def _parse(cls, path: Path) -> Manifest:
        try:
            content = json.loads(path.read_text())
            version = content["schema_version"]
        except (ValueError, KeyError, TypeError) as error:
            raise ShardError(f"{path} is not a shard manifest; build the shards again.") from error
        if version != SCHEMA_VERSION:
            raise ShardError(f"{path} has schema version {version}, not {SCHEMA_VERSION}; build the shards again.")
        try:
            manifest = cls(
                cohort=content["cohort"],
                schema_version=version,
                size=content["size"],
                entities=tuple(content["entities"]),
                positions=tuple(content["positions"]),
                shards=tuple(ShardEntry(**shard) for shard in content["shards"]),
            )
        except (KeyError, TypeError) as error:
            raise ShardError(f"{path} is not a shard manifest; build the shards again.") from error
        if content.get("digest") != manifest.digest:
            raise ShardError(f"{path} was changed after it was written; build the shards again.")
        return manifest


def known_entries(folder: Path) -> dict[str, ShardEntry]:
    """The shards of the present manifest by file name, without those written after it: they need no new digest."""
    try:
        manifest = Manifest.load(folder)
    except ShardError:
        return {}
    written = (Path(folder) / FILE_NAME).stat().st_mtime_ns
    older = [shard for shard in manifest.shards if (Path(folder) / shard.file).stat().st_mtime_ns < written]
    return {shard.file: shard for shard in older}


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
