"""The manifest of a folder of shards, and the data version that runs and results record.

The data version is the identity of the content: of the rows, of the vocabulary, size and schema by which they are
read, and of whether images were squashed, as a network reads other films alike. It does not depend on the names of
shards, on how rows are divided over them, on the order of writing, on paths or on time stamps. Each row has a SHA-256
digest of all its columns. The digests of all rows are added modulo 2**256, so any division of the same rows into
shards gives the same sum, and a shard is digested once. The manifest also holds the digest of each file, which tells a
damaged file.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shards.errors import ShardError
from shards.files import is_there, open_shard, shard_digest
from shards.schema import SCHEMA_VERSION
from store.atomic import replacing
from store.remote.mirror import published_digest
from store.seals import sealed_digest, set_aside

FILE_NAME = "manifest.json"
FIRST = "build the shards first: `dagster job execute -j ingest`."
AGAIN = "build the shards again: `dagster job execute -j ingest`."
MODULUS = 2**256  # of sums of row digests


@dataclass(frozen=True)
class ShardEntry:
    """One shard: its file name, row count, digest of the file, sum of its row digests, and rows per split."""

    file: str
    rows: int
    digest: str
    content: str  # hexadecimal
    splits: Mapping[str, int]

    @classmethod
    def of(cls, path: Path) -> ShardEntry:
        """Describe the shard at `path`."""
        table = pq.read_table(open_shard(path))
        splits = Counter(table["split"].to_pylist())
        content = sum(row_digests(table)) % MODULUS
        return cls(path.name, splits.total(), shard_digest(path), f"{content:064x}", dict(sorted(splits.items())))


@dataclass(frozen=True)
class Manifest:
    """The shards of one cohort, all of one image size and one vocabulary."""

    cohort: str
    schema_version: str
    size: int
    entities: tuple[str, ...]
    positions: tuple[str, ...]
    shards: tuple[ShardEntry, ...]
    # How images were read, beside their size: fields of imaging.decode.SquareOptions. A model reads new images alike.
    decoding: Mapping[str, Any] = field(default_factory=dict)

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
    def squash(self) -> bool:
        """Whether images were stretched to the square; boxes and maps on them lie accordingly."""
        return bool(self.decoding.get("squash"))

    @property
    def digest(self) -> str:
        """The data version: what the rows say, and how they are to be read."""
        content = sum(int(shard.content, 16) for shard in self.shards) % MODULUS
        reading = (self.cohort, self.schema_version, self.size, self.entities, self.positions, self.rows)
        return canonical_digest([*reading, f"{content:064x}", *["squash"] * self.squash])

    @property
    def checksum(self) -> str:
        """Digest of everything in the manifest, which tells whether it was changed after it was written."""
        return canonical_digest(asdict(self))

    def write(self, folder: Path) -> Path:
        """Write `manifest.json` into `folder`, atomically."""
        path = Path(folder) / FILE_NAME
        with replacing(path) as partial:
            content = {**asdict(self), "rows": self.rows, "digest": self.digest, "checksum": self.checksum}
            partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
        return path

    @classmethod
    def load(cls, folder: Path, verify: bool = False) -> Manifest:
        """Read the manifest of `folder`; with `verify`, also compare every byte of the shards with their digests.

        Raises:
            ShardError: there is no manifest, or a file is missing or not what was written. Such a shard is set aside.
        """
        path = Path(folder) / FILE_NAME
        if not path.is_file():
            raise ShardError(f"There is no {FILE_NAME} in {folder}; {FIRST}")
        manifest = cls._parse(path)
        for shard in manifest.shards:
            if not is_there(path.parent / shard.file):
                raise ShardError(f"The shard {shard.file} of {path} is missing; {AGAIN}")
        if verify:
            manifest._verify(path.parent)
        return manifest

    def _verify(self, folder: Path) -> None:
        """Each file is read once in a process, several at a time: digesting does not hold up other threads."""
        paths = [folder / shard.file for shard in self.shards]
        with ThreadPoolExecutor() as pool:
            digests = list(pool.map(shard_digest, paths))
        for shard, path, digest in zip(self.shards, paths, digests, strict=True):
            if digest != shard.digest:
                aside = set_aside(path)
                if published_digest(path) == shard.digest:
                    continue  # it is read there
                raise ShardError(
                    f"The shard {path} was changed after it was written and is set aside as {aside.name}; {AGAIN}"
                )

    @classmethod
    def _parse(cls, path: Path) -> Manifest:
        try:
            content = json.loads(path.read_text())
            version = content["schema_version"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ShardError(f"{path} is not a shard manifest of this version; {AGAIN}") from error
        if version != SCHEMA_VERSION:
            raise ShardError(f"{path} has schema version {version}, not {SCHEMA_VERSION}; {AGAIN}")
        try:
            manifest = cls(
                cohort=content["cohort"],
                schema_version=version,
                size=content["size"],
                entities=tuple(content["entities"]),
                positions=tuple(content["positions"]),
                shards=tuple(ShardEntry(**shard) for shard in content["shards"]),
                decoding=content["decoding"],
            )
            digests = manifest.digest, manifest.checksum
            has_own_shards = all("/" not in shard.file for shard in manifest.shards)
        except (ValueError, KeyError, TypeError) as error:
            raise ShardError(f"{path} is not a shard manifest of this version; {AGAIN}") from error
        if (content.get("digest"), content.get("checksum")) != digests or not has_own_shards:
            raise ShardError(f"{path} was changed after it was written; {AGAIN}")
        return manifest


def known_entries(folder: Path) -> dict[str, ShardEntry]:
    """The shards of the present manifest by file name that are still what it describes: they need no new digest."""
    try:
        manifest = Manifest.load(folder)
    except ShardError:
        return {}
    same = [shard for shard in manifest.shards if sealed_digest(Path(folder) / shard.file) == shard.digest]
    return {shard.file: shard for shard in same}


def row_digests(table: pa.Table) -> Iterator[int]:
    """The SHA-256 of every row of a shard, over all of its columns, as a number."""
    pixels = table["pixels"].to_pylist()
    for row, grey in zip(table.drop_columns("pixels").to_pylist(), pixels, strict=True):
        digest = hashlib.sha256(_canonical(_sorted_labels(row)))
        digest.update(grey)
        yield int.from_bytes(digest.digest(), "big")


def _sorted_labels(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its labels in alphabetical order: a map says the same in any order."""
    return row if row["labels"] is None else {**row, "labels": sorted(row["labels"])}


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def canonical_digest(value: Any) -> str:
    """The digest of a value that JSON can write, however its dicts are ordered."""
    return hashlib.sha256(_canonical(value)).hexdigest()
