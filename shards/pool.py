"""A pool: the shards of several cohorts, read as one training set. Nothing is copied.

The folder of a pool holds `pool.json`, which names the folders of its members' shards and their data versions, and
`left_out.parquet`, a row for each image that is not used, with the reason. The rows of the members are the rows of the
pool plus those that are left out. An image is known by its cohort and its id, as two cohorts may use the same id.

Members are in alphabetical order, so the same cohorts are the same pool however somebody lists them. The data version
of a pool is a digest of those of its members, and of which rows are left out and why.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shards.errors import ShardError
from shards.manifest import FILE_NAME as MANIFEST
from shards.manifest import Manifest, canonical_digest
from store.seals import expect_intact, is_sealed, write_sealed_json, write_sealed_table

FILE_NAME = "pool.json"
LEFT_OUT_FILE = "left_out.parquet"
AGAIN = "bring the pool up to date again: `dagster job execute -j ingest`."
LEFT_OUT = pa.schema(
    [
        pa.field("cohort", pa.string(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("other", pa.string(), nullable=False),  # the cohort that has the patient or the copy
    ]
)


@dataclass(frozen=True)
class Member:
    """One cohort of a pool."""

    cohort: str
    shards: str  # folder of its shards, relative to that of the pool
    data_version: str
    rows: Mapping[str, int]  # split -> rows of the cohort
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # split -> reason -> rows

    @property
    def used(self) -> dict[str, int]:
        """Split -> rows that the pool has of the cohort."""
        return {split: rows - sum(self.left_out.get(split, {}).values()) for split, rows in self.rows.items()}

    @property
    def reasons(self) -> dict[str, int]:
        """Reason -> rows that are left out."""
        total: Counter[str] = Counter()
        for counts in self.left_out.values():
            total.update(counts)
        return dict(sorted(total.items()))


@dataclass(frozen=True)
class Pool:
    """What the folder of a pool says; it answers the same questions as the manifest of one cohort."""

    members: tuple[Member, ...]
    left_out: str  # digest of the rows that are left out
    made_by: str  # fingerprint of what decided which these are
    folder: Path

    @classmethod
    def write(cls, folder: Path, shards: Mapping[str, Path], left_out: pa.Table, made_by: str) -> Pool:
        """Write the pool of the cohorts whose shards are in the folders `shards`, without the rows `left_out`.

        `folder` and `shards` keep their places relative to each other.

        Raises:
            ShardError: there are no shards, or those of two members cannot be read alike.
        """
        folder = folder.resolve()
        rows = _sorted(left_out)
        manifests = {cohort: Manifest.load(shards[cohort]) for cohort in sorted(shards)}
        members = [
            Member(
                cohort,
                os.path.relpath(shards[cohort].resolve(), folder),
                manifest.digest,
                manifest.splits,
                _count(rows, cohort),
            )
            for cohort, manifest in manifests.items()
        ]
        expect_alike(list(manifests.values()))
        pool = cls(tuple(members), _digest_rows(rows), made_by, folder)
        write_sealed_table(rows, folder / LEFT_OUT_FILE)
        content = {"members": [asdict(member) for member in members], "left_out": pool.left_out, "made_by": made_by}
        write_sealed_json(folder / FILE_NAME, {**content, "digest": pool.digest})
        return pool

    @classmethod
    def load(cls, folder: Path, verify: bool = False) -> Pool:
        """Read the pool in `folder`; with `verify`, also compare every byte of its members' shards with their digests.

        Raises:
            ShardError: there is none, its file is not what was written, or a member has another data version.
            DamageError: the table of rows that are left out is not what was written.
        """
        folder = Path(folder).resolve()
        path = folder / FILE_NAME
        if not path.is_file():
            raise ShardError(f"There is no {FILE_NAME} in {folder}; {AGAIN}")
        try:
            content = json.loads(expect_intact(path, AGAIN).read_text(encoding="utf-8"))
            members = tuple(Member(**member) for member in content["members"])
            pool = cls(members, content["left_out"], content["made_by"], folder)
            same = content["digest"] == pool.digest
        except (ValueError, KeyError, TypeError) as error:
            raise ShardError(f"{path} is not the file of a pool of this version; {AGAIN}") from error
        if not same:
            raise ShardError(f"{path} was changed after it was written; {AGAIN}")
        pool._expect_members(verify)
        return pool

    def _expect_members(self, verify: bool) -> None:
        for member in self.members:
            manifest = Manifest.load(self.shards_of(member), verify)
            if (manifest.cohort, manifest.digest) != (member.cohort, member.data_version):
                raise ShardError(
                    f"{self.shards_of(member)} holds data version {manifest.digest[:12]} of {manifest.cohort}, and the "
                    f"pool {self.cohort} was made with {member.data_version[:12]} of {member.cohort}; {AGAIN}"
                )
        expect_alike(self.manifests)

    def shards_of(self, member: Member) -> Path:
        """Folder of the shards of a member."""
        return Path(os.path.normpath(self.folder / member.shards))

    @cached_property
    def manifests(self) -> list[Manifest]:
        """The manifests of the members."""
        return [Manifest.load(self.shards_of(member)) for member in self.members]

    @property
    def cohort(self) -> str:
        """The name: those of the members, joined by +."""
        return "+".join(member.cohort for member in self.members)

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return self.manifests[0].size

    @property
    def entities(self) -> tuple[str, ...]:
        """What the triplets name."""
        return self.manifests[0].entities

    @property
    def positions(self) -> tuple[str, ...]:
        """Where the triplets see it."""
        return self.manifests[0].positions

    @property
    def decoding(self) -> Mapping[str, Any]:
        """How images were read, beside their size."""
        return self.manifests[0].decoding

    @property
    def squash(self) -> bool:
        """Whether images were stretched to the square."""
        return self.manifests[0].squash

    @property
    def splits(self) -> dict[str, int]:
        """Image-report pairs per split."""
        total: Counter[str] = Counter()
        for member in self.members:
            total.update(member.used)
        return dict(sorted(total.items()))

    @property
    def rows(self) -> int:
        """Image-report pairs of all members that are used."""
        return sum(self.splits.values())

    @property
    def digest(self) -> str:
        """The data version."""
        return _digest(self.data_versions, self.left_out)

    @property
    def data_versions(self) -> dict[str, str]:
        """Cohort -> its data version."""
        return {member.cohort: member.data_version for member in self.members}

    def read_left_out(self) -> pa.Table:
        """The rows that are not used, of the schema LEFT_OUT.

        Raises:
            DamageError: the table is not what was written.
            ShardError: it is not the one that the pool was written with.
        """
        table = pq.read_table(expect_intact(self.folder / LEFT_OUT_FILE, AGAIN))
        if not table.schema.equals(LEFT_OUT) or _digest_rows(table) != self.left_out:
            raise ShardError(f"{self.folder / LEFT_OUT_FILE} is not of the pool beside it; {AGAIN}")
        return table

    def describe_counts(self) -> list[str]:
        """A sentence for each member: its rows, those that are used, and why the others are left out."""
        return [_describe(member) for member in self.members]


def _describe(member: Member) -> str:
    rows, used = sum(member.rows.values()), sum(member.used.values())
    why = "".join(f", {count} left out as {reason.replace('_', ' ')}" for reason, count in member.reasons.items())
    return f"{member.cohort}: {rows} rows, {used} used{why}."


def is_pool(folder: Path) -> bool:
    """Whether a folder of shards is that of a pool."""
    path = Path(folder) / FILE_NAME
    return path.exists() or is_sealed(path)


def data_version_of(data_versions: Mapping[str, str], left_out: pa.Table) -> str:
    """The data version of a pool of cohorts with these data versions, without the rows `left_out`."""
    return _digest(data_versions, _digest_rows(_sorted(left_out)))


def has_shards(folder: Path) -> bool:
    """Whether a folder holds a manifest, of one cohort or of a pool."""
    return is_pool(folder) or (Path(folder) / MANIFEST).exists()


def origins_of(manifest: Manifest | Pool) -> dict[str, dict[str, Any]]:
    """Every cohort that has rows in the shards -> its `data_version`, rows per split, and rows left out per reason."""
    if isinstance(manifest, Manifest):
        return {manifest.cohort: {"data_version": manifest.digest, "rows": manifest.splits, "left_out": {}}}
    return {
        member.cohort: {
            "data_version": member.data_version,
            "rows": {split: member.rows[split] for split in sorted(member.rows)},
            "left_out": member.reasons,
        }
        for member in manifest.members
    }


def load_manifest(folder: Path, verify: bool = False) -> Manifest | Pool:
    """What a folder of shards says, of one cohort or of a pool; errors as those of `load` of either."""
    return Pool.load(folder, verify) if is_pool(folder) else Manifest.load(folder, verify)


def expect_alike(manifests: Sequence[Manifest]) -> None:
    """Raise ShardError where the shards of two cohorts cannot be read as one training set."""
    first = manifests[0]
    for other in manifests[1:]:
        for what, one, two in (
            (f"have images of {first.size} and of {other.size} pixels", first.size, other.size),
            ("differ in whether images are squashed", first.squash, other.squash),
            ("have different observations", first.entities, other.entities),
            ("have different anatomic locations", first.positions, other.positions),
        ):
            if one != two:
                raise ShardError(
                    f"{first.cohort} and {other.cohort} {what}, so they cannot be pooled; ingest both again with the "
                    "same settings."
                )


def _count(left_out: pa.Table, cohort: str) -> dict[str, dict[str, int]]:
    """Split -> reason -> rows of a cohort."""
    found: dict[str, Counter[str]] = {}
    for row in left_out.to_pylist():
        if row["cohort"] == cohort:
            found.setdefault(row["split"], Counter())[row["reason"]] += 1
    return {split: dict(sorted(counts.items())) for split, counts in sorted(found.items())}


def _sorted(left_out: pa.Table) -> pa.Table:
    return left_out.cast(LEFT_OUT).sort_by([(name, "ascending") for name in LEFT_OUT.names])


def _digest(data_versions: Mapping[str, str], left_out: str) -> str:
    return canonical_digest(["pool", sorted(data_versions.items()), left_out])


def _digest_rows(table: pa.Table) -> str:
    digest = hashlib.sha256()
    for row in table.to_pylist():
        digest.update(json.dumps(row, sort_keys=True).encode())
    return digest.hexdigest()
