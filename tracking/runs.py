"""Which training a request asks for, and which one a method's latest is.

The folder of a run is named after everything that decides its weights, so the same request resumes what was
interrupted and finds what is finished.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from assets.workspace import Workspace
from store.atomic import write_json
from store.digests import fingerprint
from training.state.code import training_code


@dataclass(frozen=True)
class TrainedRun:
    """What the evaluation needs to know of the latest run of a method on a cohort."""

    method: str
    fingerprint: str
    output: str  # relative to the home
    mlflow_run: str
    data_version: str
    seed: int
    checkpoint_digest: str
    untrained_digest: str
    variant: str = ""  # what the user calls this way to train it, such as an ablation's ITA

    @property
    def name(self) -> str:
        """The method as results call it: mgca, or mgca:ITA."""
        return f"{self.method}:{self.variant}" if self.variant else self.method


def training_request(workspace: Workspace, method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of `python -m training`; its folder is named after all that decides the weights."""
    from shards.manifest import Manifest
    from store.digests import file_digest

    shards = workspace.folder("shards")
    knowledge = workspace.folder("knowledge") / "knowledge.parquet"
    data_version = Manifest.load(shards).digest
    run = fingerprint(method, settings, data_version, file_digest(knowledge), training_code(method))
    return {
        **settings,
        "method": method,
        "shards": str(shards),
        "knowledge": str(knowledge),
        "output": str(workspace.home_path() / "checkpoints" / method / run),
        "data_version": data_version,
    }


def remember(workspace: Workspace, run: TrainedRun) -> None:
    """Make a finished run the latest of its method on this cohort, and of its variant and seed."""
    own = f"{run.variant or 'main'}-{run.seed}.json"
    for path in (_runs(workspace, run.method) / own, _pointer(workspace, run.method)):
        write_json(path, asdict(run))


def trained_run(workspace: Workspace, method: str) -> TrainedRun:
    """The latest finished run of a method on this cohort."""
    if not is_trained(workspace, method):
        raise dg.Failure(
            f"{method} has no finished run on {workspace.cohort_name()}: run pretrain_{method} first.",
            allow_retries=False,
        )
    return TrainedRun(**json.loads(_pointer(workspace, method).read_text()))


def known_runs(workspace: Workspace, method: str) -> list[TrainedRun]:
    """The latest finished run of every variant and seed of a method on this cohort, by variant and seed."""
    paths = [_pointer(workspace, method), *_runs(workspace, method).glob("*.json")]
    runs = [TrainedRun(**json.loads(path.read_text())) for path in paths if path.exists()]
    latest = {(run.variant, run.seed): run for run in runs}
    return [latest[key] for key in sorted(latest)]


def runs_to_evaluate(workspace: Workspace, method: str, every: bool) -> list[TrainedRun]:
    """The latest finished run; with `every` also the latest ones of other variants and seeds."""
    latest = trained_run(workspace, method)
    others = [run for run in known_runs(workspace, method) if run != latest] if every else []
    return [latest, *others]


def is_trained(workspace: Workspace, method: str) -> bool:
    """Whether a run of the method on this cohort has finished."""
    return _pointer(workspace, method).exists()


def _runs(workspace: Workspace, method: str) -> Path:
    return workspace.home_path() / "checkpoints" / method / "runs" / workspace.cohort_name()


def _pointer(workspace: Workspace, method: str) -> Path:
    return workspace.home_path() / "checkpoints" / method / f"{workspace.cohort_name()}.json"
