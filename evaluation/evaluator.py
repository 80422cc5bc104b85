"""Measures a network on a cohort, cell by cell: a task with a setting, trained or untrained.

A cell whose checkpoint, data and protocol are in the results already is not measured again. One that goes wrong, or
that the method or the cohort has nothing for, is a row that says so, and stops no other.
"""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.settings import options_of
from assets.workspace import Workspace
from cohorts.errors import CohortError
from evaluation.dataset import CohortFilms
from evaluation.errors import EvaluationError, NotAvailableError
from evaluation.metrics.values import MACRO, ResultValue
from evaluation.predictions import ANSWER_CODE, WEIGHTS, Network
from evaluation.tasks.adapters import TASKS, Setting
from shards.errors import ShardError
from store.code import code_version
from store.digests import fingerprint
from tracking import tracker as tracking
from tracking.runs import TrainedRun, runs_to_evaluate
from tracking.tracker import Tracker

if TYPE_CHECKING:
    import logging

    from evaluation.results.store import ResultKey

NOTHING = "nothing to score: the cohort's test split has nothing for this task."
NOT_AVAILABLE = "not available: "
SHARED_CODE = (*ANSWER_CODE, "evaluation.dataset", "evaluation.metrics.classification")


@dataclass(frozen=True)
class Outcome:
    """What became of a cell."""

    run: str  # the method as results call it, and its seed
    task: str
    setting: Setting
    weights: str
    values: Sequence[ResultValue]
    note: str  # why there are none
    reused: bool
    seconds: float

    @property
    def failed(self) -> bool:
        """Whether it went wrong."""
        from evaluation.results.store import FAILED

        return self.note.startswith(FAILED)

    @property
    def headline(self) -> str:
        """Its leading number."""
        metric = TASKS[self.task].leading
        (found,) = [value for value in self.values if (value.metric, value.class_name) == (metric, MACRO)]
        return f"{metric} {'not scored' if found.value is None else format(found.value, '.3f')}"

    def numbers(self) -> dict[str, float]:
        """Every number by its name in MLflow, which takes no signs such as %."""
        place = [self.task, *([] if self.setting.fraction is None else [_plain(self.setting.name)])]
        place += [] if self.weights == "trained" else [self.weights]
        place += [f"draw{self.setting.draw}"] if self.setting.draw else []
        return {
            "/".join([*place, value.metric, _plain(value.class_name)]): value.value
            for value in self.values
            if value.value is not None
        }


def _plain(name: str) -> str:
    return re.sub(r"[^\w./ -]+", "", name.replace(" %", "pct")).strip()


def benches(
    cohort: CohortFilms, home: Workspace, method: str, settings: Any, log: logging.Logger, prefix: str = ""
) -> list[Bench]:
    """One for the latest run of a method, first, and with `every_run` those of its other variants and seeds."""
    options = options_of(settings)
    return [
        Bench(cohort, run, tracking.attach(home.home_path(), run.mlflow_run), log, options, prefix)
        for run in runs_to_evaluate(home, method, settings.every_run)
    ]


class Bench:
    """Both networks of a run in front of a cohort, and where their numbers go."""

    def __init__(
        self,
        cohort: CohortFilms,
        run: TrainedRun,
        tracker: Tracker,
        log: logging.Logger,
        options: Mapping[str, Mapping[str, Any]],
        prefix: str = "",
    ) -> None:
        """`options` of each task; `prefix` of the names of the numbers in MLflow."""
        self.cohort, self.run, self.tracker, self.log, self.options = cohort, run, tracker, log, options
        self.prefix = prefix
        self.networks = {weights: Network(cohort, run, weights, log.info) for weights in WEIGHTS}

    def measure(self, cells: Sequence[tuple[str, Setting]]) -> Iterator[Outcome]:
        """Every cell with both networks, as they are done."""
        for task, setting in cells:
            for weights in WEIGHTS:
                outcome = self._found(task, setting, weights) or self._measured(task, setting, weights)
                if not outcome.reused:
                    self._told(outcome)
                yield outcome

    def fail(self, cells: Sequence[tuple[str, Setting]], why: str) -> Iterator[Outcome]:
        """Every cell that was not measured before as failed, for the same reason, which lies outside of them."""
        from evaluation.results.store import FAILED

        for task, setting in cells:
            for weights in WEIGHTS:
                found = self._found(task, setting, weights)
                yield found or self._written(task, setting, weights, [], FAILED + why, 0.0)

    def _found(self, task: str, setting: Setting, weights: str) -> Outcome | None:
        from evaluation.results.store import find_results

        key = self._key(task, setting, weights)
        found = find_results(self.cohort.workspace.home_path(), task, key, setting.name)
        if found is None:
            return None
        values, note = found
        return Outcome(self.run_name, task, setting, weights, values, note, reused=True, seconds=0.0)

    def _measured(self, task: str, setting: Setting, weights: str) -> Outcome:
        from evaluation.results.store import FAILED

        begun = time.monotonic()
        values: Sequence[ResultValue] = []
        note = ""
        try:
            values = TASKS[task].score(self.networks[weights], setting, dict(self.options.get(task, {})))
            note = "" if values else NOTHING
        except NotAvailableError as error:
            note = f"{NOT_AVAILABLE}{error}"
        except (EvaluationError, CohortError, ShardError) as error:
            note = f"{FAILED}{error}"
        except dg.Failure as error:
            note = f"{FAILED}{error.description}"
        except Exception as error:  # a fault of ours: it must not take the other cells with it
            note = f"{FAILED}{type(error).__name__} in our code; the log of the run has the place."
            place = "".join(traceback.format_tb(error.__traceback__))  # no message: it may quote a report
            self.log.error(f"{task}, {setting.name}, {weights}: {type(error).__name__}\n{place}")
        return self._written(task, setting, weights, values, note, time.monotonic() - begun)

    def _written(
        self, task: str, setting: Setting, weights: str, values: Sequence[ResultValue], note: str, seconds: float
    ) -> Outcome:
        from evaluation.results.store import write_results

        rows = values or [ResultValue(TASKS[task].leading, MACRO, None, None, None, 0)]
        key = self._key(task, setting, weights)
        write_results(self.cohort.workspace.home_path(), task, key, rows, setting.name, note=note)
        return Outcome(self.run_name, task, setting, weights, values, note, reused=False, seconds=seconds)

    def _told(self, outcome: Outcome) -> None:
        """In the log, and with the run in MLflow."""
        place = ", ".join((self.run_name, self.name, outcome.task, outcome.setting.name, outcome.weights))
        if outcome.failed:
            self.log.warning(f"{place}: {outcome.note}")
        else:
            self.log.info(f"{place}: {outcome.note or outcome.headline} ({outcome.seconds:.1f} s).")
        self.tracker.log_summary({f"{self.prefix}{name}": value for name, value in outcome.numbers().items()})

    @cached_property
    def simulated(self) -> bool:
        """Whether the films are drawn; an archive on object storage is asked once."""
        return self.cohort.workspace.shows_simulation()

    @property
    def run_name(self) -> str:
        """What is measured, trained and untrained."""
        return f"{self.run.name} seed {self.run.seed}"

    @property
    def name(self) -> str:
        """The cohort."""
        return self.cohort.workspace.cohort_name()

    @cached_property
    def data_version(self) -> str:
        """Digest of the cohort's shards; empty where there are none."""
        from shards.manifest import Manifest

        folder = self.cohort.workspace.folder("shards")
        return Manifest.load(folder).digest if (folder / "manifest.json").exists() else ""

    def _key(self, task: str, setting: Setting, weights: str) -> ResultKey:
        from evaluation.results.store import ResultKey

        run, trained = self.run, weights == "trained"
        return ResultKey(
            method=run.name if trained else f"untrained:{run.name}",
            checkpoint=run.checkpoint_digest if trained else run.untrained_digest,
            mlflow_run=run.mlflow_run,
            cohort=self.name,
            data_version=self.data_version,
            seed=run.seed,
            draw=setting.draw,
            protocol=self._protocol(task, setting),
            simulated=self.simulated,
        )

    def _protocol(self, task: str, setting: Setting) -> str:
        """Digest of everything beside checkpoint and data that decides the numbers of a cell."""
        code = code_version(*SHARED_CODE, f"models.methods.{self.run.method}", f"evaluation.tasks.{task}")
        asked = vars(self.cohort.protocol)
        return fingerprint(task, vars(setting), self.options.get(task, {}), asked, code)
