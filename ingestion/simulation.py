"""Simulated archives: the phantom's own, and beside it those of the downstream datasets that have no archive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from store.remote import mirror

if TYPE_CHECKING:
    from pathlib import Path

    from cohorts.phantom.config import PhantomConfig
    from ingestion.stage import Log
    from ingestion.workspace import Workspace

SEED = 7  # of the downstream archives: other images than those a network was pretrained on
STUDIES = 600  # in a downstream archive, unless a run asks for another number


def simulate_archive(workspace: Workspace, config: PhantomConfig, log: Log) -> dict[str, int]:
    """Simulate the phantom archive of this workspace, or what it lacks of it; returns the numbers of studies."""
    from cohorts.phantom.archive import simulate

    tenths = 0

    def report(done: int, total: int) -> None:
        nonlocal tenths
        if 10 * done // total > tenths:
            log(f"Simulated {done} of {total} studies.")
        tenths = 10 * done // total

    made = simulate(workspace.root(), config, report)
    mirror.pack(workspace.root())
    return made


def simulate_missing(workspace: Workspace, names: Sequence[str], studies: int, log: Log) -> list[str]:
    """Beside a simulated pretraining: write an archive for each of `names` that has none; returns those.

    A folder of somebody's where one would be written stays as it is.
    """
    absent = [name for name in names if workspace.downstream(name) is None]
    if not studies or not workspace.simulated():
        return []
    missing = []
    for name in absent:
        if (root := _simulated_root(workspace, name)).exists():
            log(f"{root} is there and no simulation: it stays as it is, and {name} is left out.")
        else:
            missing.append(name)
    if missing:
        _simulate(workspace, missing, studies, log)
    return missing


def _simulate(workspace: Workspace, names: Sequence[str], studies: int, log: Log) -> None:
    """Archives in the layouts of the named datasets, all of the same patients, who are not those of the pretraining."""
    import shutil
    from concurrent.futures import ThreadPoolExecutor

    from cohorts.phantom.config import PhantomConfig
    from cohorts.phantom.layouts import layout_writer
    from cohorts.phantom.simulated import simulate_studies
    from imaging.pool import usable_cores

    log(f"Simulating {studies} studies for the archives of {', '.join(names)}.")
    simulated = simulate_studies(PhantomConfig(studies=studies, seed=_another_seed(workspace)), studies)

    def write(name: str) -> None:
        root = _simulated_root(workspace, name)
        partial = root.with_name("archive.partial")
        shutil.rmtree(partial, ignore_errors=True)  # of a killed run
        layout_writer(name)(partial, simulated)
        partial.rename(root)
        mirror.pack(root)
        log(f"Simulated {studies} studies in the layout of {name}.")

    with ThreadPoolExecutor(usable_cores()) as pool:  # packing images, most of it, does not hold up other threads
        list(pool.map(write, names))


def _simulated_root(workspace: Workspace, name: str) -> Path:
    return workspace.home_path() / name / "archive"


def _another_seed(workspace: Workspace) -> int:
    """One that the archive of the pretraining was not simulated with."""
    from cohorts.phantom.archive import read_record

    record = read_record(workspace.root()) or {}
    return SEED + (record.get("seed") == SEED)
