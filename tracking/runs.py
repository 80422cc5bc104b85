"""The registry of finished runs: the latest of every method, variant and seed on a dataset."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from models import run_files
from models.registry import only_imported
from models.run_files import ORIGIN, RESULT, expect_recorded
from store.errors import DamageError, did_you_mean
from store.seals import expect_intact, set_aside, write_sealed_json
from training.errors import TrainingError

_warn = logging.getLogger(__name__).warning


def read_result(folder: Path) -> dict[str, Any]:
    """What a finished run wrote about itself.

    Raises:
        TrainingError: the run in `folder` is not finished.
        DamageError: what it wrote is damaged, or of another run.
    """
    if not (folder / RESULT).exists():
        raise TrainingError(f"{folder} has no {RESULT}; train the run there to its end first")
    return run_files.read_result(folder)


IMPORTED = "imported"  # in the place of a method: all networks that can be imported and not trained
NETWORK_TAG = "radalign/network"  # of a Dagster run: which of them
MONITOR_VARIABLE = "RADALIGN_MONITOR"
COHORT = "cohort"  # in the file of a run, beside the fields of `TrainedRun`


class Home(Protocol):
    """The part of a workspace that is needed here: the folders of a home and of one of its datasets."""

    def home_path(self) -> Path:
        """Absolute path of the home."""

    def cohort_name(self) -> str:
        """Name of the dataset."""

    def folder(self, stage: str) -> Path:
        """Folder of one stage of the dataset."""


@dataclass(frozen=True)
class TrainedRun:
    """A finished run, as evaluation needs to know it."""

    method: str
    fingerprint: str
    output: str  # folder, relative to the home; absolute where it lies elsewhere
    mlflow_run: str  # empty where MLflow has no record of the run
    data_version: str
    seed: int
    checkpoint_digest: str
    untrained_digest: str
    variant: str = ""  # what the user calls this way to train the method, such as ITA of an ablation
    version: str = ""  # of the tables that the run was trained on, see `ingestion.versions`; empty: not kept

    @property
    def name(self) -> str:
        """The method as results call it: mgca, or mgca:ITA."""
        return f"{self.method}:{self.variant}" if self.variant else self.method

    @classmethod
    def of_folder(
        cls, folder: Path, home: Path | None = None, mlflow_run: str = "", variant: str = "", version: str = ""
    ) -> TrainedRun:
        """The finished run in `folder`; TrainingError where there is none, DamageError where its files are damaged."""
        result = read_result(folder)
        origin = json.loads(expect_recorded(folder / ORIGIN).read_text(encoding="utf-8"))
        return cls(
            method=origin["settings"]["method"],
            fingerprint=folder.name,
            output=str(folder.relative_to(home) if home else folder.resolve()),
            mlflow_run=mlflow_run,
            data_version=origin["data_version"],
            seed=origin["settings"]["seed"],
            checkpoint_digest=result["checkpoint_digest"],
            untrained_digest=result["untrained_digest"],
            variant=variant,
            version=version,
        )


def remember(workspace: Home, run: TrainedRun, job: str = "") -> None:
    """Make a finished run the latest of its method on this dataset, of its variant and seed, and of the job `job`."""
    own = f"{run.variant or 'main'}-{run.seed}.json"
    paths = [_runs(workspace, run.method) / own, _pointer(workspace, run.method)]
    for path in [*paths, *([_of_job(workspace, run.method, job)] if job else [])]:
        write_sealed_json(path, {**asdict(run), COHORT: workspace.cohort_name()})


def trained_in(workspace: Home, method: str, job: str) -> TrainedRun | None:
    """The run of a method that the job `job` trained or found trained; None where it has no such step."""
    path = _of_job(workspace, method, job)
    return _read_run(workspace, method, path) if path.exists() else None


def trained_run(workspace: Home, method: str) -> TrainedRun:
    """The latest finished run of a method on this dataset.

    Raises:
        TrainingError: there is none.
        DamageError: the file that names it is damaged, or of another method or dataset.
    """
    if not is_trained(workspace, method):
        command = "radalign import FILE" if method in only_imported() else f"dagster job execute -j pretrain_{method}"
        raise TrainingError(f"{method} has no finished run on {workspace.cohort_name()}: run `{command}` first.")
    return _read_run(workspace, method, _pointer(workspace, method))


def known_runs(workspace: Home, method: str, warn: Callable[[str], object] = _warn) -> list[TrainedRun]:
    """The latest finished run of every variant and seed of a method on this dataset, by variant and seed.

    `warn` is told of files that cannot be used; the other runs are known all the same.
    """
    latest: dict[tuple[str, int], TrainedRun] = {}
    for path in [_pointer(workspace, method), *sorted(_runs(workspace, method).glob("*.json"))]:
        if path.exists():
            try:
                run = _read_run(workspace, method, path)
            except DamageError as error:
                warn(str(error))
            else:
                latest[run.variant, run.seed] = run
    return [latest[key] for key in sorted(latest)]


def recorded_run(workspace: Home, run: str, method: str) -> str:
    """The MLflow run that was noted of the run `run`; empty where none was."""
    return next((known.mlflow_run for known in known_runs(workspace, method) if known.fingerprint == run), "")


def runs_to_evaluate(workspace: Home, method: str, every: bool) -> list[TrainedRun]:
    """The latest finished run; with `every` also the latest ones of other variants and seeds."""
    latest = trained_run(workspace, method)
    others = [run for run in known_runs(workspace, method) if run != latest] if every else []
    return [latest, *others]


def standing_methods(workspace: Home, names: Sequence[str]) -> list[str]:
    """Those of `names` whose latest runs score new studies: what RADALIGN_MONITOR names, with commas between.

    Without it, it is the method whose run on this dataset was finished last. None where there is no finished run.

    TrainingError for a method that RADALIGN_MONITOR names and that has none.
    """
    if asked := [name.strip() for name in os.environ.get(MONITOR_VARIABLE, "").split(",") if name.strip()]:
        if unknown := [name for name in asked if name not in names]:
            raise TrainingError(
                f"{MONITOR_VARIABLE} names {unknown[0]}{did_you_mean(unknown[0], names)}, which is no method: see "
                "`radalign methods`."
            )
        for name in asked:
            trained_run(workspace, name)
        return asked
    finished = [name for name in names if is_trained(workspace, name)]
    return [max(finished, key=lambda name: _pointer(workspace, name).stat().st_mtime_ns)] if finished else []


def networks_of(method: str, workspace: Home, tags: Mapping[str, str]) -> list[str]:
    """Names of the networks that `method` stands for: itself, or for IMPORTED those that cannot be trained.

    The tag NETWORK_TAG of a run chooses one of these. TrainingError where none was imported on the dataset.
    """
    if method != IMPORTED:
        return [method]
    asked = [tags[NETWORK_TAG]] if NETWORK_TAG in tags else only_imported()
    found = [name for name in asked if is_trained(workspace, name)]
    if not found:
        raise TrainingError(
            f"Nobody has imported {' or '.join(asked)} beside {workspace.cohort_name()}: run `radalign import` first."
        )
    return found


def is_trained(workspace: Home, method: str) -> bool:
    """Whether a run of the method on this dataset has finished."""
    return _pointer(workspace, method).exists()


def _read_run(workspace: Home, method: str, path: Path) -> TrainedRun:
    """The run that a file names; DamageError where the file is not what was written for this method and dataset."""
    again = f"run `dagster job execute -j pretrain_{method}` again: a finished run is found, and not trained anew."
    content = json.loads(expect_intact(path, again).read_text(encoding="utf-8"))
    if (content["method"], content.pop(COHORT, "")) != (method, workspace.cohort_name()):
        aside = set_aside(path).name
        raise DamageError(f"{path} is that of another method or dataset and is set aside as {aside}; {again}")
    return TrainedRun(**content)


def _runs(workspace: Home, method: str) -> Path:
    return workspace.home_path() / "checkpoints" / method / "runs" / workspace.cohort_name()


def _of_job(workspace: Home, method: str, job: str) -> Path:
    return workspace.home_path() / "runs" / job / f"{workspace.cohort_name()}-{method}.json"


def _pointer(workspace: Home, method: str) -> Path:
    return workspace.home_path() / "checkpoints" / method / f"{workspace.cohort_name()}.json"
