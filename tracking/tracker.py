"""Follows a training run into MLflow: one MLflow run per training run, however often that was interrupted.

An MLflow run is found again by its fingerprint tag. Parameters are logged once, what a resume adds is a tag,
and a step that is already there is not logged twice. Importing MLflow takes seconds, so functions import it.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.remote.mirror import name_of
from tracking.layout import RESULTS, downstream_metric, parameter, run_address, step_metric
from tracking.model_versions import choose_best, register_version
from tracking.names import metric_name
from tracking.numbers import add_numbers, read_numbers
from tracking.places import place_of
from tracking.runs import TrainedRun
from tracking.store import HOME_TAG, StoreBusyError, TrackingError, connect, explaining, home_filter, locked
from tracking.store import create_store as create_store
from tracking.store import experiment_id as experiment_id
from tracking.store import has_store as has_store
from tracking.tail import Tail as Tail
from training.monitoring.lines import Line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

FINGERPRINT_TAG = "radalign.fingerprint"
COHORT_TAG = "radalign.data_version"  # the beginning of the tag of each cohort that the run trains on
LAST_STEP_TAG = "radalign.last_logged_step"
DAGSTER_TAG = "dagster.run_id"
METRICS_PER_CALL = 900  # MLflow takes at most 1000 in one call
PAUSE = 60.0  # seconds before a store that was busy is asked again
LAST_PAUSE = 1.0  # the same at the end of a training
ACTIVE = "active"  # what MLflow calls a run that nobody has deleted
FINISHED = "FINISHED"
MARKS = {"FAILED": "failed: ", "KILLED": "stopped: "}  # before the name of a run without a trained network

Warn = Callable[[str], object]
_warn = logging.getLogger(__name__).warning


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
    def of_request(
        cls, request: Mapping[str, Any], cohort: str, dagster_run: str = "", data_versions: Mapping[str, str] = {}
    ) -> RunIdentity:
        """The identity of the run that a request of `tracking.runs.training_request` asks for.

        `data_versions` are those of all cohorts that it trains on.
        """
        origins = {f"{COHORT_TAG}.{name}": version for name, version in data_versions.items()}
        nested = ("method_config", "augmentation")
        left_out = ("shards", "knowledge", "output", *nested)
        parameters = {name: value for name, value in request.items() if name not in left_out}
        inner = {f"{part}.{name}": value for part in nested for name, value in request[part].items()}
        return cls(
            fingerprint=Path(request["output"]).name,
            name=f"{request['method']} {cohort} seed {request['seed']}",
            parameters={parameter(name): value for name, value in {**parameters, **inner, "cohort": cohort}.items()},
            tags={"radalign.method": request["method"], DAGSTER_TAG: dagster_run, **origins},
            dataset=cohort,
            dataset_source=request["shards"],
            data_version=request["data_version"],
        )


class Tracker:
    """One MLflow run. What cannot be recorded is said in a sentence, once, and stops nothing.

    What a busy store does not take is kept until it does. A run that is `finished` keeps its end, unless there are new
    steps.
    """

    def __init__(
        self,
        home: Path,
        client: MlflowClient,
        run_id: str,
        last_step: int,
        warn: Warn = _warn,
        finished: bool = False,
    ) -> None:
        self.client = client
        self.run_id = run_id
        self.last_step = last_step
        self._finished = finished
        self._home, self._warn = home, warn
        self._said: set[str] = set()
        self._waiting: list[Callable[[], object]] = []
        self._recording = threading.Lock()  # a step and whatever follows its metrics may be two threads
        self._not_before = 0.0

    def log_steps(self, lines: Sequence[Line]) -> int:
        """Log lines of metrics.jsonl that are new to the run; returns how many were."""
        from mlflow.entities import Metric, RunTag

        new = [line for line in lines if line["step"] > self.last_step]
        if not new:
            return 0
        if self._finished:  # its result was lost, so it is trained again
            self._finished = False
            self._record(partial(self.client.update_run, self.run_id, status="RUNNING"))
        now = int(time.time() * 1000)
        metrics = [
            Metric(metric_name(step_metric(name)), float(value), now, line["step"])
            for line in new
            for name, value in {**line["metrics"], "epoch": line["epoch"]}.items()
        ]
        self.last_step = new[-1]["step"]
        for start in range(0, len(metrics), METRICS_PER_CALL):
            part = metrics[start : start + METRICS_PER_CALL]
            tags = [RunTag(LAST_STEP_TAG, str(part[-1].step))]
            self._record(partial(self.client.log_batch, self.run_id, metrics=part, tags=tags))
        return len(new)

    def tag(self, tags: Mapping[str, Any]) -> None:
        """Set tags: the facts that may change from one attempt to the next."""
        from mlflow.entities import RunTag

        entries = [RunTag(name, str(value)) for name, value in tags.items()]
        self._record(partial(self.client.log_batch, self.run_id, tags=entries))

    def log_summary(self, metrics: Mapping[str, float], downstream: str = "") -> None:
        """Keep the numbers of an evaluation: all of them in `numbers.csv`, the leading ones also as metrics.

        `downstream` is the leading number, where the evaluation is on another dataset than the training.
        """
        from mlflow.entities import Metric

        names = {**RESULTS, downstream: downstream_metric(downstream)}
        now, step = int(time.time() * 1000), 0  # MLflow draws bars of what has no later steps
        leading = [Metric(metric_name(names[name]), metrics[name], now, step) for name in names if name in metrics]
        if leading:
            self._record(partial(self.client.log_batch, self.run_id, metrics=leading))
            self._record(partial(choose_best, self.client, self.run_id))
        self._record(partial(self._add_numbers, dict(metrics)))

    def register(self, run: TrainedRun, folder: Path, cohort: str) -> None:
        """Make the finished run in `folder` a version of its model."""
        self._record(partial(register_version, self.client, self.run_id, run, folder, cohort))

    def numbers(self) -> dict[str, float]:
        """The numbers of all evaluations; TrackingError where they cannot be read."""
        with explaining(self._home):
            return read_numbers(self.client, self.run_id)

    def log_file(self, path: Path, folder: str) -> None:
        """Keep a file with the run."""
        self._record(partial(self.client.log_artifact, self.run_id, str(path), folder))

    def address(self, mlflow: str) -> str:
        """The page of the run where MLflow is served at `mlflow`; empty where the store cannot be read."""
        try:
            with explaining(self._home):
                return run_address(mlflow, self.client.get_run(self.run_id).info.experiment_id, self.run_id)
        except TrackingError:
            return ""

    def end(self, status: str) -> None:
        """FINISHED, FAILED or KILLED, of which the last two join the name of the run."""
        self._not_before = 0.0
        if not (self._finished and status == FINISHED):
            self._record(partial(self.client.set_terminated, self.run_id, status))
            self._record(partial(self._mark, MARKS.get(status, "")))
        self._wait_for_store()

    def _mark(self, mark: str) -> None:
        name = self.client.get_run(self.run_id).info.run_name
        self.client.update_run(self.run_id, name=mark + _plain_name(name))

    def _add_numbers(self, numbers: Mapping[str, float]) -> None:
        with locked(self._home):  # steps of several processes evaluate the same run
            add_numbers(self.client, self.run_id, numbers)

    def _record(self, call: Callable[[], object]) -> None:
        """Do this and what is waiting."""
        with self._recording:
            self._waiting.append(call)
            self._record_waiting()

    def _record_waiting(self) -> None:
        while self._waiting and time.monotonic() >= self._not_before:
            try:
                with explaining(self._home):
                    self._waiting[0]()
            except StoreBusyError as error:
                self._not_before = time.monotonic() + PAUSE
                self._say(str(error))
                return
            except TrackingError as error:
                self._say(str(error))
            self._waiting.pop(0)

    def _wait_for_store(self) -> None:
        """Try again what a store that is away did not take: nobody comes back to it later."""
        deadline = time.monotonic() + place_of(self._home).patience
        while self._waiting and time.monotonic() < deadline:
            time.sleep(LAST_PAUSE)
            with self._recording:
                self._not_before = 0.0
                self._record_waiting()

    def _say(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self._warn(sentence)


def open_run(home: Path, identity: RunIdentity, warn: Warn = _warn) -> Tracker:
    """Find the run with this fingerprint, or create it. It is RUNNING afterwards, unless it is FINISHED.

    TrackingError where the store cannot be used.
    """
    client, experiment = connect(home, warn)
    with explaining(home):
        run = _find(home, client, experiment, identity.fingerprint)
        if run is None:
            return Tracker(home, client, _create_run(home, client, experiment, identity), -1, warn)
        if run.info.status != FINISHED:
            client.update_run(run.info.run_id, status="RUNNING", name=_plain_name(run.info.run_name))
        tracker = _tracker_of(home, client, run, warn)
    tracker.tag(identity.tags)
    return tracker


def attach(home: Path, run_id: str, fingerprint: str = "", warn: Warn = _warn) -> Tracker | None:
    """An existing run, to add results to; its status stays what it is.

    Where the store does not know the id, the run is found by its `fingerprint`. None, and a sentence for `warn`, where
    there is no such run, or the store cannot be used.
    """
    try:
        client, experiment = connect(home, warn)
        with explaining(home):
            run = _get(client, run_id) or (_find(home, client, experiment, fingerprint) if fingerprint else None)
    except TrackingError as error:
        warn(str(error))
        return None
    if run is None:
        warn(
            f"MLflow has no record of the run {run_id} any more, so its results are not added there; train the method "
            "again with the same command, and the record is made anew."
        )
        return None
    return _tracker_of(home, client, run, warn)


def running(home: Path) -> dict[str, str]:
    """Runs that MLflow believes to be running: their id -> the Dagster run that trained them last.

    None, and a warning, where the store cannot be used.
    """
    try:
        client, experiment = connect(home)
        with explaining(home):
            found = client.search_runs([experiment], f"attributes.status = 'RUNNING'{home_filter(home)}")
    except TrackingError as error:
        _warn("%s", error)
        return {}
    return {run.info.run_id: run.data.tags.get(DAGSTER_TAG, "") for run in found}


def end(home: Path, run_id: str, status: str) -> None:
    """End a run whose own process cannot do it any more."""
    tracker = attach(home, run_id)
    if tracker is not None:
        tracker.end(status)


def _get(client: MlflowClient, run_id: str) -> Run | None:
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return run if run.info.lifecycle_stage == ACTIVE else None


def _find(home: Path, client: MlflowClient, experiment: str, fingerprint: str) -> Run | None:
    wanted = f"tags.`{FINGERPRINT_TAG}` = '{fingerprint}'{home_filter(home)}"
    found = client.search_runs([experiment], wanted, max_results=1)
    return found[0] if found else None


def _tracker_of(home: Path, client: MlflowClient, run: Run, warn: Warn) -> Tracker:
    logged = run.data.tags.get(LAST_STEP_TAG, "")
    last_step = int(logged) if logged.isdecimal() else -1
    return Tracker(home, client, run.info.run_id, last_step, warn, finished=run.info.status == FINISHED)


def _plain_name(name: str) -> str:
    """The name of a run without the mark of its end."""
    for mark in MARKS.values():
        name = name.removeprefix(mark)
    return name


def _create_run(home: Path, client: MlflowClient, experiment: str, identity: RunIdentity) -> str:
    from mlflow.entities import Dataset, DatasetInput, InputTag, Param

    tags = {FINGERPRINT_TAG: identity.fingerprint, HOME_TAG: name_of(home), **identity.tags}
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
    return str(run.info.run_id)
