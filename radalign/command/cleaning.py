"""Removes what no run needs from a home: old batches and versions, files that were set aside or never finished."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ingestion.pipeline import STAGES
from ingestion.pooling.names import pools_in
from ingestion.versions import ALIVE, PINS, present_version, versions_folder, writing
from ingestion.workspace import Workspace
from shards.pool import FILE_NAME as POOL
from store import batches
from store.atomic import PARTIAL
from store.errors import BusyError, UserError
from store.locks import holding
from store.remote import mirror
from store.seals import DAMAGED, SEAL

BATCH = re.compile(rf"([0-9a-f]{{20}})(\.rejects)?\.parquet({re.escape(SEAL)})?")
VERSION = re.compile(r"/versions/([^/]+)/shards/?$")
ARCHIVE = "archive"  # of a simulated dataset
STRAY_SECONDS = 3600  # no file takes longer to write; whoever began an older partial one was killed
FOLDERS = ("inventory", *(stage.name for stage in STAGES))

Log = Callable[[str], object]


@dataclass
class Unneeded:
    """Files and folders that can be removed, by what they are of, and the bytes that each holds."""

    found: dict[str, dict[Path, int]] = field(default_factory=dict)

    def add(self, place: str, path: Path) -> None:
        """Note a file or a folder that is there."""
        self.found.setdefault(place, {})[path] = count_bytes(path)

    def describe(self) -> list[str]:
        """A line per place."""
        return [
            f"{place}: {len(paths)} files and folders, {sum(paths.values()) / 1e6:.1f} MB"
            for place, paths in self.found.items()
        ]

    def remove(self) -> None:
        """Remove everything that was noted."""
        for path in (path for paths in self.found.values() for path in paths):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            mirror.forget(path)


def clean(home: Path, dry_run: bool, log: Log) -> Unneeded:
    """Remove from a home what no run needs, or with `dry_run` only find it; `log` gets a line on what is left out.

    What counts at present stays, and so do the versions of finished runs, of unfinished trainings, and those that runs
    in progress have pinned. Results, weights and archives always stay. A dataset that is being written, or whose state
    cannot be read, is left out.
    """
    pinned = _pinned_versions(home)
    pinned |= _pooled_versions(home, pinned)
    found = _find_leftovers(home)
    if not dry_run:
        found.remove()
    for workspace in _datasets(home):
        name = workspace.cohort_name()
        try:
            with writing(workspace, log, wait=False):
                of_dataset = _find(workspace, pinned)
                if not dry_run:
                    of_dataset.remove()
        except BusyError:
            log(f"{name} is being written and is left out; try again when that has ended.")
        except UserError as error:
            log(f"{name} is left out: {error}")
        else:
            found.found |= of_dataset.found
    if (swept := mirror.sweep(home, dry_run))[0]:
        log(f"{swept[0]} objects of {mirror.name_of(home)} are needed by nothing, {swept[1] / 1e6:.1f} MB.")
    return found


def count_bytes(path: Path) -> int:
    """Bytes of a file or a folder; links take none."""
    if path.is_symlink() or not path.exists():
        return 0
    return sum(map(count_bytes, path.iterdir())) if path.is_dir() else path.stat().st_size


def _find(workspace: Workspace, pinned: set[str]) -> Unneeded:
    """What is not needed of a dataset. All that is needed is known before anything is found."""
    mirror.bring_below(versions_folder(workspace))
    versions = _needed_versions(workspace, pinned)
    needed = {folder: _needed(workspace, folder, versions) for folder in FOLDERS}
    found = Unneeded()
    for path in sorted(versions_folder(workspace).glob("*")):
        if path.name not in versions and path.suffix != PARTIAL:
            found.add(f"{workspace.cohort_name()} versions", path)
    for folder, fingerprints in needed.items():
        for path in sorted(workspace.folder(folder).glob("*.parquet*")):
            match = BATCH.fullmatch(path.name)
            if match and match[1] not in fingerprints:
                found.add(f"{workspace.cohort_name()} {folder}", path)
        for name in sorted(mirror.batches_in(workspace.folder(folder)) - fingerprints):
            found.add(f"{workspace.cohort_name()} {folder}", batches.output_path(workspace.folder(folder), name))
    return found


def _needed_versions(workspace: Workspace, pinned: set[str]) -> set[str]:
    """The present version of a dataset, and those of its runs and of others that are in progress."""
    from models.registry import evaluated_names
    from tracking.runs import known_runs

    runs = [run for method in evaluated_names() for run in known_runs(workspace, method)]
    return {present_version(workspace), *pinned, *(run.version for run in runs)}


def _needed(workspace: Workspace, folder: str, versions: set[str]) -> set[str]:
    """Fingerprints of the batches of a stage that count at present or that a version links to."""
    found = set(batches.read_plan(workspace.folder(folder)).fingerprints().values())
    for version in versions - {""}:
        plan = versions_folder(workspace) / version / folder
        if plan.is_dir():
            found |= set(batches.read_plan(plan).fingerprints().values())
    return found


def _pinned_versions(home: Path) -> set[str]:
    """Versions that runs in progress pinned, and those of trainings that are not finished."""
    found = set()
    mirror.bring_below(home / PINS)
    for path in home.glob(f"{PINS}/*/*.json"):
        if _lives(path.parent):
            found.add(str(_read(path).get("version", "")))
    for path in home.glob("checkpoints/*/*/request.json"):
        match = VERSION.search(str(_read(path).get("shards", "")))
        if match and not (path.parent / "result.json").exists():
            found.add(match[1])
    return found


def _pooled_versions(home: Path, pinned: set[str]) -> set[str]:
    """Versions of datasets that the pools of a home refer to, in those of their versions that are needed."""
    found = set()
    for name in pools_in(home):
        workspace = Workspace(home=str(home), cohort=name)
        for version in _needed_versions(workspace, pinned) - {""}:
            content = _read(versions_folder(workspace) / version / "shards" / POOL)
            members = content.get("members")
            found |= {Path(member["shards"]).parent.name for member in members} if isinstance(members, list) else set()
    return found


def _read(path: Path) -> dict[str, object]:
    """The content of a small file; empty where it cannot be read: then whoever wrote it cannot go on either."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _lives(run: Path) -> bool:
    """Whether the run whose folder this is still goes on."""
    if not (run / ALIVE).exists() and mirror.lock_name(run / ALIVE) is None:
        return False
    try:
        with holding(run / ALIVE, "", wait=False):
            return False
    except BusyError:
        return True


def _datasets(home: Path) -> Iterator[Workspace]:
    from cohorts.registry import cohort_names

    for name in (*cohort_names(), *pools_in(home)):
        if (home / name).is_dir():
            yield Workspace(home=str(home), cohort=name)


def _find_leftovers(home: Path) -> Unneeded:
    """Pins of runs that have ended, files that were set aside, and partial ones that nobody has written to for long."""
    found = Unneeded()
    for path in sorted(home.glob(f"{PINS}/*")):
        if not _lives(path):
            found.add("pins of runs that have ended", path)
    for path in sorted(path for suffix in (DAMAGED, PARTIAL) for path in home.rglob(f"*{suffix}")):
        old = path.suffix == DAMAGED or time.time() - path.lstat().st_mtime > STRAY_SECONDS
        if old and ARCHIVE not in path.relative_to(home).parts:
            found.add("damaged and unfinished files", path)
    return found
