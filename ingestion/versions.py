"""Versions of the tables of a dataset: what a run reads stays what it is while other runs write.

A version is a folder `<dataset>/versions/<id>` with copies of the small tables and links to the batches, which are
never changed. The id follows from the content. `Workspace.version` names the version that is read instead of the tables
that count at present. A run pins the versions that it made or read: all of its steps read the same ones.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingestion.workspace import VERSIONS
from shards import manifest
from shards.errors import ShardError
from shards.manifest import Manifest
from shards.pool import load_manifest
from store import batches
from store.digests import fingerprint, known_digest
from store.errors import DamageError
from store.locks import holding
from store.remote import mirror
from store.seals import expect_intact, is_intact, is_sealed, seal_path, write_sealed_json

if TYPE_CHECKING:
    from ingestion.stage import Log
    from ingestion.workspace import Workspace

PLANS = (batches.PLAN, batches.FORMER_PLAN)  # there is one of the two
# Folder -> the tables that are copied from it, where they are there.
TABLES: Mapping[str, tuple[str, ...]] = {
    "inventory": PLANS,
    "images": PLANS,
    "reports": PLANS,
    "triplets": PLANS,
    "studies": ("studies.parquet",),
    "rejects": ("rejects.parquet",),
    "subsets": ("subsets.parquet", "settings.json"),
    "knowledge": ("knowledge.parquet", "unseen.parquet", "settings.json"),
    "regions": ("regions.parquet",),
    "shards": PLANS,
}
LINKED = ("triplets", "shards")  # folders whose batches are read later
PINS = "runs"  # in the home, a folder per run
ALIVE = "alive"  # in the folder of a run: a lock that it holds
LOCK = "ingestion.lock"  # in the folder of a dataset


@contextmanager
def writing(workspace: Workspace, log: Log, wait: bool = True) -> Iterator[None]:
    """Be the only one who writes the tables of this dataset, or of this pool and all of its members.

    BusyError where somebody else does and `wait` is false.
    """
    names = {workspace.cohort_name(), *(member.cohort_name() for member in workspace.members())}
    with ExitStack() as locks:
        for name in sorted(names):  # in one order: no two runs wait for each other
            locks.enter_context(writing_one(workspace.home_path(), name, log, wait))
        yield


def writing_one(home: Path, name: str, log: Log, wait: bool = True) -> AbstractContextManager[None]:
    """Be the only one who writes the tables of the dataset or the pool `name`; of a pool not of its members."""
    return holding(home / name / LOCK, f"writes the tables of {name} in {home}", log, wait)


def take_version(workspace: Workspace) -> str:
    """Keep the tables that count as a version, unless it is there; returns its id. To be called while `writing`.

    A pool is a version as it is built. ShardError where there is nothing yet.
    """
    current = replace(workspace, version="")
    if workspace.is_pool:
        return _expect_pool(current)
    content = dict(_copied(current))
    data = Manifest.load(current.folder("shards"))
    target = versions_folder(current) / _name(data, content)
    mirror.bring(target)
    if not _is_whole(target, data, content):
        _write(current, target, data)
    elif not mirror.is_kept(target / "shards" / manifest.FILE_NAME):  # whoever wrote it could not publish it
        mirror.publish(target)
    return target.name


def present_version(workspace: Workspace) -> str:
    """The id that the tables that count have as a version, which may not be kept; empty without shards."""
    current = replace(workspace, version="")
    if workspace.is_pool:
        return _expect_pool(current) if current.folder("shards").exists() else ""
    if not (current.folder("shards") / manifest.FILE_NAME).exists():
        return ""
    return _name(Manifest.load(current.folder("shards")), dict(_copied(current)))


def versions_folder(workspace: Workspace) -> Path:
    """Where the versions of a dataset lie."""
    return workspace.home_path() / workspace.cohort_name() / VERSIONS


def pin(workspace: Workspace, run: str, state: Mapping[str, Any]) -> None:
    """Keep for the run `run` the `state` of this dataset, whose `version` all of its steps then read."""
    write_sealed_json(_pin_path(workspace, run), dict(state))


def pinned_state(workspace: Workspace, run: str) -> dict[str, Any] | None:
    """What the run pinned of this dataset; None where it has not met it yet."""
    path = _pin_path(workspace, run)
    mirror.bring(path)
    if not path.exists() and not is_sealed(path):
        return None
    state: dict[str, Any] = json.loads(
        expect_intact(path, "give the same command again, which starts a new run.").read_text(encoding="utf-8")
    )
    return state


def pinned(workspace: Workspace, run: str, log: Log = lambda _: None) -> Workspace:
    """The workspace as the run `run` sees it: with the version that it pinned, or else the present one, pinned now."""
    state = pinned_state(workspace, run)
    if state is None:
        with writing(workspace, log):
            state = {"version": take_version(workspace)}
        pin(workspace, run, state)
    return at_version(workspace, state.get("version", ""))


def at_version(workspace: Workspace, version: str) -> Workspace:
    """The workspace that reads a version; DamageError where it is gone."""
    found = replace(workspace, version=version)
    if version and not has_version(workspace, version):
        raise DamageError(
            f"The version {version} of {workspace.cohort_name()} is not in {workspace.home_path()} any more; give the "
            "same command again."
        )
    return found


def has_version(workspace: Workspace, version: str) -> bool:
    """Whether a version is there."""
    if not version:
        return False
    mirror.bring(versions_folder(workspace) / version)
    return (versions_folder(workspace) / version).is_dir()


def version_for(workspace: Workspace, data_version: str, run: str, trained_on: str, log: Log) -> Workspace:
    """The workspace to evaluate a network on that was trained on `data_version`, of the version `trained_on`.

    The first of these that has the data version: what the run `run` pinned, the present tables, and the version of the
    training. Where none has it, the present tables are taken, which `log` is told. A network that was imported has no
    data version: it is evaluated on what the run pinned, or on the present tables.
    """
    current = replace(workspace, version="")
    before = (pinned_state(current, run) or {}).get("version", "")
    if has_version(current, before) and data_version in ("", _data_version(at_version(current, before))):
        return at_version(current, before)
    with writing(current, log):
        same = data_version in ("", _data_version(current))
        if not same and has_version(current, trained_on):
            return at_version(current, trained_on)
        if not same:
            log(
                f"The network was trained on data version {data_version[:12]}, which is not kept any more: it is "
                f"evaluated on the present one of {current.cohort_name()}."
            )
        return at_version(current, take_version(current))


def _data_version(workspace: Workspace) -> str:
    try:
        return load_manifest(workspace.folder("shards")).digest
    except ShardError:
        return ""


def _expect_pool(workspace: Workspace) -> str:
    """The id of the version that is the present pool."""
    shards = workspace.folder("shards")
    if not shards.exists():
        name = workspace.cohort_name()
        raise ShardError(
            f"There is no pool {name} in {workspace.home_path()}; build it first: `RADALIGN_COHORT={name} dagster job "
            "execute -j ingest`."
        )
    return shards.resolve().parent.name


def living(home: Path, run: str) -> AbstractContextManager[None]:
    """Show for the time of the block that the run `run` lives, so that nobody removes what it pinned."""
    return holding(home / PINS / run / ALIVE, "has the same name")


def _name(data: Manifest, content: Mapping[str, str]) -> str:
    return f"{data.digest[:12]}-{fingerprint(data.checksum, content)[:8]}"


def _pin_path(workspace: Workspace, run: str) -> Path:
    return workspace.home_path() / PINS / run / f"{workspace.cohort_name()}.json"


def _copied(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Name and digest of every file that a version copies; DamageError where one is not what was written."""
    for folder, names in TABLES.items():
        for name in names:
            path = workspace.folder(folder) / name
            if path.exists() or is_sealed(path):
                yield f"{folder}/{name}", known_digest(expect_intact(path, batches.AGAIN, keep=True))


def _is_whole(target: Path, data: Manifest, content: Mapping[str, str]) -> bool:
    """Whether a version holds what it should; its links need not be read."""
    try:
        if Manifest.load(target / "shards") != data:
            return False
    except ShardError:
        return False
    links = [path for folder in LINKED for path in (target / folder).iterdir() if path.is_symlink()]
    for folder in LINKED:
        mirror.look_for_batches(target.parents[1] / folder)
    there = all(path.exists() or mirror.is_kept(path) for path in links)
    return there and all(is_intact(target / name) for name in content)


def _write(workspace: Workspace, target: Path, data: Manifest) -> None:
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for folder, names in TABLES.items():
        (partial / folder).mkdir(parents=True)
        for name in names:
            path = workspace.folder(folder) / name
            if path.exists():
                shutil.copyfile(path, partial / folder / name)
                shutil.copyfile(seal_path(path), seal_path(partial / folder / name))
    data.write(partial / "shards")
    for folder, path in _linked(workspace, data):
        (partial / folder / path.name).symlink_to(Path("..", "..", "..", folder, path.name))
    replace_folder(partial, target)


def _linked(workspace: Workspace, data: Manifest) -> Iterator[tuple[str, Path]]:
    """Folder and name of the batches that a version links to, with their rejects and seals."""
    triplets = workspace.folder("triplets")
    said = [batch.fingerprint for batch in batches.read_plan(triplets).batches]
    outputs = [("shards", Path(shard.file)) for shard in data.shards]
    outputs += [("triplets", batches.output_path(Path(), name)) for name in said]
    for folder, path in outputs:
        yield folder, path
        yield folder, seal_path(path)
    for rejects in [batches.rejects_path(Path(), name) for name in said]:
        if (triplets / rejects).exists() or mirror.is_kept(triplets / rejects):  # the seal of the output covers them
            yield "triplets", rejects


def replace_folder(partial: Path, target: Path) -> None:
    """Rename a complete folder to `target`.

    A damaged version steps aside first: a folder cannot be renamed onto one that holds files.
    """
    if target.exists():
        aside = target.with_name(f"{target.name}.{time.time_ns()}.damaged")
        target.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    partial.rename(target)
    mirror.publish(target)
