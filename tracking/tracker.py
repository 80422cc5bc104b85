"""Follows a training run into MLflow: one MLflow run per training run, however often that was interrupted.

An MLflow run is found again by its fingerprint tag. Parameters are logged once, what a resume adds is a tag,
and a step that is already there is not logged twice. Importing MLflow takes seconds, so functions import it.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "radalign"
KIND = {"mlflow.experimentKind": "custom_model_development"}  # else MLflow's pages expect prompts, not losses
FINGERPRINT_TAG = "radalign.fingerprint"
LAST_STEP_TAG = "radalign.last_logged_step"
DAGSTER_TAG = "dagster.run_id"
METRICS_PER_CALL = 900  # MLflow takes at most 1000 in one call


@dataclass(frozen=True)
class RunIdentity:
    """What MLflow records of a training run before its first step."""

    fingerprint: str
    name: str
    parameters: Mapping[str, Any]
    tags: Mapping[str, str]
    dataset: str
    dataset_source: str
    data_version: str

    @classmethod
    def of_request(cls, request: Mapping[str, Any], cohort: str, dagster_run: str = "") -> RunIdentity:
        """The identity of the run that a request of `tracking.runs.training_request` asks for."""
        nested = ("method_config", "augmentation")
        left_out = ("shards", "knowledge", "output", *nested)
        parameters = {name: value for name, value in request.items() if name not in left_out}
        inner = {f"{part}.{name}": value for part in nested for name, value in request[part].items()}
        return cls(
            fingerprint=Path(request["output"]).name,
            name=f"{request['method']} {cohort} seed {request['seed']}",
            parameters={**parameters, **inner, "cohort": cohort},
            tags={"radalign.method": request["method"], DAGSTER_TAG: dagster_run},
            dataset=cohort,
            dataset_source=request["shards"],
            data_version=request["data_version"],
        )


class Tracker:
    """One MLflow run."""

    def __init__(self, client: MlflowClient, run_id: str, last_step: int) -> None:
        self.client = client
        self.run_id = run_id
        self.last_step = last_step

    def log_steps(self, lines: list[Mapping[str, Any]]) -> int:
        """Log lines of metrics.jsonl that are new to the run; returns how many were."""
        from mlflow.entities import Metric, RunTag

        new = [line for line in lines if line["step"] > self.last_step]
        if not new:
            return 0
        now = int(time.time() * 1000)
        metrics = [
            Metric(name, float(value), now, line["step"])
            for line in new
            for name, value in {**line["metrics"], "epoch": line["epoch"]}.items()
        ]
        self.last_step = new[-1]["step"]
        for start in range(0, len(metrics), METRICS_PER_CALL):
            part = metrics[start : start + METRICS_PER_CALL]
            tags = [RunTag(LAST_STEP_TAG, str(part[-1].step))]
            self.client.log_batch(self.run_id, metrics=part, tags=tags)
        return len(new)

    def tag(self, tags: Mapping[str, Any]) -> None:
        """Set tags: the facts that may change from one attempt to the next."""
        from mlflow.entities import RunTag

        self.client.log_batch(self.run_id, tags=[RunTag(name, str(value)) for name, value in tags.items()])

    def log_summary(self, metrics: Mapping[str, float]) -> None:
        """Log single numbers, such as results."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [Metric(name, float(value), now, self.last_step) for name, value in metrics.items()]
        for start in range(0, len(entries), METRICS_PER_CALL):
            self.client.log_batch(self.run_id, metrics=entries[start : start + METRICS_PER_CALL])

    def log_file(self, path: Path, folder: str) -> None:
        """Keep a file with the run."""
        self.client.log_artifact(self.run_id, str(path), folder)

    def end(self, status: str) -> None:
        """FINISHED, FAILED or KILLED."""
        self.client.set_terminated(self.run_id, status)


def tracking_uri(home: Path) -> str:
    """Absolute address of the store: MLflow's own default depends on the working directory."""
    return f"sqlite:///{home.resolve() / 'mlflow.db'}"


def create_store(home: Path) -> str:
    """Make sure that the store and its experiment are there; returns its address."""
    _connect(home)
    return tracking_uri(home)


def open_run(home: Path, identity: RunIdentity) -> Tracker:
    """Find the run with this fingerprint, or create it; either way it is RUNNING afterwards."""
    client, experiment = _connect(home)
    found = client.search_runs([experiment], f"tags.`{FINGERPRINT_TAG}` = '{identity.fingerprint}'", max_results=1)
    if not found:
        return _create_run(client, experiment, identity)
    run = found[0]
    client.update_run(run.info.run_id, status="RUNNING")
    tracker = Tracker(client, run.info.run_id, int(run.data.tags.get(LAST_STEP_TAG, -1)))
    tracker.tag(identity.tags)
    return tracker


def attach(home: Path, run_id: str) -> Tracker:
    """An existing run, to add results to; its status stays what it is."""
    client, _ = _connect(home)
    run = client.get_run(run_id)
    return Tracker(client, run_id, int(run.data.tags.get(LAST_STEP_TAG, 0)))


def experiment_id(home: Path) -> str:
    """The experiment that holds every run of this home, which the address of a run's page names."""
    return _connect(home)[1]


def has_store(home: Path) -> bool:
    """Whether anything was ever tracked in this home; costs no import of MLflow."""
    return (home / "mlflow.db").exists()


def running(home: Path) -> dict[str, str]:
    """Runs that MLflow believes to be running: their id -> the Dagster run that trained them last."""
    client, experiment = _connect(home)
    found = client.search_runs([experiment], "attributes.status = 'RUNNING'")
    return {run.info.run_id: run.data.tags.get(DAGSTER_TAG, "") for run in found}


def end(home: Path, run_id: str, status: str) -> None:
    """End a run whose own process cannot do it any more."""
    client, _ = _connect(home)
    client.set_terminated(run_id, status)


class Tail:
    """Reads what a growing JSON-lines file has gained. A resumed run replaces its file: then it is read anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = self._offset = 0

    def read(self) -> list[Mapping[str, Any]]:
        """The complete lines since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            if inode != self._inode:
                self._inode, self._offset = inode, 0
            file.seek(self._offset)
            data = file.read()
        complete = data[: data.rfind(b"\n") + 1]
        self._offset += len(complete)
        return [json.loads(line) for line in complete.splitlines() if line.strip()]


def _create_run(client: MlflowClient, experiment: str, identity: RunIdentity) -> Tracker:
    from mlflow.entities import Dataset, DatasetInput, InputTag, Param

    tags = {FINGERPRINT_TAG: identity.fingerprint, **identity.tags}
    run = client.create_run(experiment, tags=tags, run_name=identity.name)
    parameters = [Param(name, str(value)) for name, value in identity.parameters.items()]
    client.log_batch(run.info.run_id, params=parameters)
    dataset = Dataset(
        name=identity.dataset,
        digest=identity.data_version[:36],  # as much as MLflow's column holds; the parameter holds all of it
        source_type="local",
        source=json.dumps({"uri": identity.dataset_source}),
    )
    context = InputTag("mlflow.data.context", "training")
    client.log_inputs(run.info.run_id, [DatasetInput(dataset, [context])])
    return Tracker(client, run.info.run_id, -1)


def _connect(home: Path) -> tuple[MlflowClient, str]:
    """A client on this home's store. Two processes that create the schema at once crash: hence the lock."""
    with _lock(home / "mlflow.lock"):
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri(home))
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is not None:
            return client, str(experiment.experiment_id)
        artifacts = (home / "mlartifacts").resolve().as_uri()
        return client, str(client.create_experiment(EXPERIMENT, artifacts, KIND))


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
