"""The registry of finished runs: the latest of every method, variant and seed on a dataset."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from store.atomic import write_json
from training.errors import TrainingError

RESULT, ORIGIN = "result.json", "origin.json"  # of a run's folder


def read_result(folder: Path) -> dict[str, Any]:
    """What a finished run wrote about itself; TrainingError where the run in `folder` is not finished."""
    path = folder / RESULT
    if not path.exists():
        raise TrainingError(f"{folder} has no {RESULT}; train the run there to its end first")
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


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

    @property
    def name(self) -> str:
        """The method as results call it: mgca, or mgca:ITA."""
        return f"{self.method}:{self.variant}" if self.variant else self.method

    @classmethod
    def of_folder(cls, folder: Path, home: Path | None = None, mlflow_run: str = "", variant: str = "") -> TrainedRun:
        """The finished run in `folder`; TrainingError where there is none."""
        result, origin = read_result(folder), json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
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
        )


def remember(workspace: Home, run: TrainedRun) -> None:
    """Make a finished run the latest of its method on this dataset, and of its variant and seed."""
    own = f"{run.variant or 'main'}-{run.seed}.json"
    for path in (_runs(workspace, run.method) / own, _pointer(workspace, run.method)):
        write_json(path, asdict(run))


def trained_run(workspace: Home, method: str) -> TrainedRun:
    """The latest finished run of a method on this dataset; TrainingError where there is none."""
    if not is_trained(workspace, method):
        raise TrainingError(
            f"{method} has no finished run on {workspace.cohort_name()}: "
            f"run `dagster job execute -j pretrain_{method}` first."
        )
    return _read_run(_pointer(workspace, method))


def known_runs(workspace: Home, method: str) -> list[TrainedRun]:
    """The latest finished run of every variant and seed of a method on this dataset, by variant and seed."""
    paths = [_pointer(workspace, method), *_runs(workspace, method).glob("*.json")]
    runs = [_read_run(path) for path in paths if path.exists()]
    latest = {(run.variant, run.seed): run for run in runs}
    return [latest[key] for key in sorted(latest)]


def runs_to_evaluate(workspace: Home, method: str, every: bool) -> list[TrainedRun]:
    """The latest finished run; with `every` also the latest ones of other variants and seeds."""
    latest = trained_run(workspace, method)
    others = [run for run in known_runs(workspace, method) if run != latest] if every else []
    return [latest, *others]


def is_trained(workspace: Home, method: str) -> bool:
    """Whether a run of the method on this dataset has finished."""
    return _pointer(workspace, method).exists()


def _read_run(path: Path) -> TrainedRun:
    return TrainedRun(**json.loads(path.read_text(encoding="utf-8")))


def _runs(workspace: Home, method: str) -> Path:
    return workspace.home_path() / "checkpoints" / method / "runs" / workspace.cohort_name()


def _pointer(workspace: Home, method: str) -> Path:
    return workspace.home_path() / "checkpoints" / method / f"{workspace.cohort_name()}.json"
