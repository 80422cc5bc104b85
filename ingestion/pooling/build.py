"""Builds a pool over the present versions of its members.

A pool is a folder `<home>/<a+b>/versions/<id>` with `shards/pool.json`, which refers to the versions of the members,
and a copy of the knowledge table. `<home>/<a+b>/shards` and `knowledge` are links to those of the present version.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from ingestion.pooling.hashes import hash_split
from ingestion.pooling.leaks import Part, find_left_out
from ingestion.versions import at_version, replace_folder, take_version, versions_folder
from ingestion.workspace import Workspace
from shards.errors import ShardError
from shards.manifest import Manifest
from shards.pool import Pool, data_version_of, expect_alike
from shards.reader import ShardReader
from store.atomic import PARTIAL
from store.batches import AGAIN
from store.code import code_version
from store.digests import fingerprint, known_digest
from store.errors import UserError
from store.remote import mirror
from store.seals import expect_intact, seal_path

KNOWLEDGE = "knowledge.parquet"
LINKED = ("shards", "knowledge")
CODE = ("ingestion.pooling.leaks", "shards.pool")
SPLITS = ("train", "validate", "test")

Log = Callable[[str], object]


def build_pool(workspace: Workspace, log: Log = lambda _: None) -> Pool:
    """Make the pool of a workspace anew from its members as they are, and make it the present one.

    To be called while `ingestion.versions.writing` the pool, which holds its members too. Where the members are as
    they were, which images are left out is not decided again.

    Raises:
        ShardError: a member is not ingested, or two cannot be read alike.
    """
    members = [_present(member) for member in workspace.members()]
    shards = {member.cohort_name(): member.folder("shards") for member in members}
    manifests = {cohort: Manifest.load(folder) for cohort, folder in shards.items()}
    expect_alike(list(manifests.values()))
    knowledge = _expect_one_knowledge(members)
    data_versions = {cohort: manifest.digest for cohort, manifest in manifests.items()}
    made_by = fingerprint(data_versions, code_version(*CODE))
    kept = _kept(workspace, made_by)
    left_out = kept.read_left_out() if kept else find_left_out(list(_parts(members, log)))
    versions = fingerprint([member.version for member in members], known_digest(knowledge))
    name = f"{data_version_of(data_versions, left_out)[:12]}-{versions[:8]}"
    target = versions_folder(workspace) / name
    if not _is_whole(target, made_by):
        _write(target, shards, left_out, made_by, knowledge)
    pool = Pool.load(target / "shards")
    for name in LINKED:
        _point(workspace.home_path() / workspace.cohort_name() / name, target / name)
    for sentence in pool.describe_counts():
        log(sentence)
    return pool


def members_at(workspace: Workspace) -> list[Workspace]:
    """The dataset of a workspace, or the members of its pool, each in the version that was trained on."""
    if not workspace.is_pool:
        return [workspace]
    pool = Pool.load(workspace.folder("shards"))
    versions = {member.cohort: pool.shards_of(member).parent.name for member in pool.members}
    return [at_version(member, versions[member.cohort_name()]) for member in workspace.members()]


def _present(member: Workspace) -> Workspace:
    """A member in its present version."""
    try:
        return at_version(member, take_version(member))
    except ShardError as error:
        raise ShardError(
            f"{member.cohort_name()} is not ready to be pooled: {error} "
            f"`RADALIGN_COHORT={member.cohort_name()} dagster job execute -j ingest` does."
        ) from None


def _parts(members: list[Workspace], log: Log) -> Iterator[Part]:
    """The images of every split of every member."""
    for member in members:
        log(f"Comparing the images of {member.cohort_name()} with those of the other members.")
        reader = ShardReader(member.folder("shards"))
        for split in SPLITS:
            table = reader.columns(split, ["image_id", "subject_id"])
            ids, subjects = (table[name].to_numpy() for name in table.column_names)
            yield Part(member.cohort_name(), split, ids, subjects, hash_split(member, reader, split, log))


def _expect_one_knowledge(members: list[Workspace]) -> Path:
    """The table of descriptions, which all members have; ShardError where two have different ones."""
    paths = [expect_intact(member.folder("knowledge") / KNOWLEDGE, AGAIN) for member in members]
    for member, path in zip(members, paths, strict=True):
        if known_digest(path) != known_digest(paths[0]):
            raise ShardError(
                f"{members[0].cohort_name()} and {member.cohort_name()} have different descriptions of findings, so "
                "they cannot be pooled; ingest both again with the same settings."
            )
    return paths[0]


def _is_whole(target: Path, made_by: str) -> bool:
    try:
        pool = Pool.load(target / "shards")
        pool.read_left_out()
        expect_intact(target / "knowledge" / KNOWLEDGE, AGAIN, keep=True)
    except UserError:
        return False
    return pool.made_by == made_by


def _kept(workspace: Workspace, made_by: str) -> Pool | None:
    """A pool of the same rows, decided by the same code."""
    mirror.bring_below(versions_folder(workspace))
    for folder in sorted(versions_folder(workspace).glob("*/shards")):
        if _is_whole(folder.parent, made_by):
            return Pool.load(folder)
    return None


def _write(target: Path, shards: dict[str, Path], left_out: pa.Table, made_by: str, knowledge: Path) -> None:
    partial = target.with_name(f"{target.name}.{os.getpid()}{PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "knowledge").mkdir(parents=True)
    shutil.copyfile(knowledge, partial / "knowledge" / KNOWLEDGE)
    shutil.copyfile(seal_path(knowledge), seal_path(partial / "knowledge" / KNOWLEDGE))
    Pool.write(partial / "shards", shards, left_out, made_by)
    replace_folder(partial, target)


def _point(link: Path, target: Path) -> None:
    """Make `link` a link to `target`, at once."""
    partial = link.with_name(f"{link.name}.{os.getpid()}{PARTIAL}")
    partial.unlink(missing_ok=True)
    partial.symlink_to(os.path.relpath(target, link.parent))
    partial.replace(link)
    mirror.publish(link)
