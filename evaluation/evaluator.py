"""Evaluates a network on a dataset, result by result: a task with a setting, trained or untrained.

A result whose checkpoint, data and protocol are stored already is read, not computed. A result that fails, or that the
method or the dataset has nothing for, is a row that says why. It stops no other result. Weights that are not those of
the run stop all.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cohorts.subsets import FRACTIONS
from evaluation.dataset import EvaluationDataset
from evaluation.errors import NotAvailableError
from evaluation.metrics.units import IMAGE, VIEWS
from evaluation.metrics.values import MACRO, ResultValue
from evaluation.predictions import WEIGHTS, Predictions
from evaluation.tasks.base import NAME, NEVER, QUERY_LABELS, REGION_TABLE, TRIPLET_TABLE, Setting
from evaluation.tasks.registry import check_options, explain_units, repeated_settings, task, task_module
from imaging.dicom.views import FRONTAL
from models.compute import AUTOMATIC, Compute, full_convolutions
from store.code import code_version
from store.digests import fingerprint
from store.errors import UserError

if TYPE_CHECKING:
    from evaluation.results.store import ResultKey
    from tracking.runs import TrainedRun

NOTHING = "nothing to score: the dataset's test split has nothing for this task."
NOT_AVAILABLE = "not available: "
TAG = "radalign.evaluation"  # the beginning of the tags of a run that say where it was evaluated

Log = Callable[[str], object]


class Tracker(Protocol):
    """Keeps numbers and files with the run that they are of."""

    def log_summary(self, metrics: Mapping[str, float], downstream: str = "") -> None:
        """Write numbers by name; `downstream` is the leading one on another dataset than that of the training."""

    def tag(self, tags: Mapping[str, Any]) -> None:
        """Write facts by name."""

    def log_file(self, path: Path, folder: str) -> None:
        """Copy a file into a folder of the run."""


@dataclass(frozen=True)
class Outcome:
    """What became of a result."""

    run: TrainedRun
    cohort: str
    task: str
    setting: Setting
    weights: str
    values: Sequence[ResultValue]
    note: str  # why there are none, or why those that were stored may be outdated
    reused: bool
    seconds: float

    @property
    def method(self) -> str:
        """The network as results call it: medklip, untrained:medklip."""
        return self.run.name if self.weights == "trained" else f"untrained:{self.run.name}"

    @property
    def run_name(self) -> str:
        """The training run, trained and untrained."""
        return f"{self.run.name} seed {self.run.seed}"

    @property
    def failed(self) -> bool:
        """Whether it went wrong."""
        from evaluation.results.store import FAILED

        return self.note.startswith(FAILED)

    @property
    def headline(self) -> str:
        """Its leading number."""
        metric = task(self.task).leading
        (found,) = [value for value in self.values if (value.metric, value.class_name) == (metric, MACRO)]
        return f"{metric} {'not scored' if found.value is None else format(found.value, '.3f')}"

    def numbers(self) -> dict[str, float]:
        """Every number by the name that a tracker gets; labels are parts of it as they are."""
        return {
            self._name(value.metric, value.class_name): value.value for value in self.values if value.value is not None
        }

    @property
    def leading(self) -> str:
        """The name of its leading number; empty for the untrained network and for repeats, which add to others."""
        is_first = self.weights == "trained" and not self.setting.repeat
        return self._name(task(self.task).leading, MACRO) if is_first else ""

    def _name(self, metric: str, label: str) -> str:
        place = [self.task, *([] if self.setting.is_usual else [_plain(self.setting.name)])]
        place += [] if self.weights == "trained" else [self.weights]
        place += [f"repeat{self.setting.repeat}"] if self.setting.repeat else []
        return "/".join([*place, metric, label])

    def rows(self) -> list[dict[str, Any]]:
        """A row per number, with the column names of the table `results`; one row with a note where there is none."""
        common = {
            "method": self.method,
            "cohort": self.cohort,
            "task": self.task,
            "setting": self.setting.name,
            "repeat": self.setting.repeat,
            "note": self.note,
        }
        return [{**common, **value.as_row()} for value in self.values or [no_value(self.task)]]


class Evaluator:
    """Evaluates both networks of a run, trained and untrained, on a dataset, and stores the results."""

    def __init__(
        self,
        dataset: EvaluationDataset,
        run: TrainedRun,
        options: Mapping[str, Mapping[str, Any]],
        log: Log,
        tracker: Tracker | None = None,
        prefix: str = "",
        warn: Log | None = None,
        compute: Compute = AUTOMATIC,
    ) -> None:
        """`options` are settings by task, over each task's defaults. `prefix` is that of the numbers in the tracker.

        `warn` gets what went wrong; it is `log` where none is given.
        """
        check_options(options)
        self.dataset, self.run, self.options, self.tracker, self.prefix = dataset, run, options, tracker, prefix
        self.log, self.warn = log, warn or log
        self.compute, self._tagged = compute.resolve(), False
        self.predictions = {weights: Predictions(dataset, run, weights, log, self.compute) for weights in WEIGHTS}

    def evaluate(
        self,
        tasks: Sequence[str],
        fractions: Sequence[float] = FRACTIONS,
        repeats: int = 1,
        untrained: bool = True,
        unit: str = IMAGE,
        ask: str = NAME,
        view: str = FRONTAL,
    ) -> Iterator[Outcome]:
        """Results of every task with all of its settings, as they are done; `untrained`: of both networks."""
        yield from self.evaluate_settings(repeated_settings(tasks, fractions, repeats, unit, ask, view), untrained)

    def evaluate_settings(self, settings: Sequence[tuple[str, Setting]], untrained: bool = True) -> Iterator[Outcome]:
        """Results of pairs of a task and a setting, as they are done; DamageError for weights of another run."""
        self.expect_weights(untrained)
        self._update_regions()
        self.log(f"{self.run.name} seed {self.run.seed}, {self.name}: computing on {self.compute.description}.")
        for sentence in explain_units(settings):
            self.log(sentence)
        for name, setting in settings:
            for weights in self._networks(untrained):
                outcome = self._evaluate(name, setting, weights)
                if outcome.failed or not outcome.reused:
                    self._report(outcome)
                yield outcome

    def expect_weights(self, untrained: bool = True) -> None:
        """Raise DamageError or ModelError unless the weights are those that the run recorded."""
        for weights in self._networks(untrained):
            self.predictions[weights].expect_weights()

    def _networks(self, untrained: bool) -> tuple[str, ...]:
        """Both, or the trained one alone: also of a system without pretraining, which is what it was before."""
        return WEIGHTS if untrained and self.run.untrained_digest != self.run.checkpoint_digest else WEIGHTS[:1]

    def fail(self, settings: Sequence[tuple[str, Setting]], why: str) -> Iterator[Outcome]:
        """Every result as failed, all for the reason `why`, which lies outside of them.

        Numbers that are stored already are kept, and are shown with the reason.
        """
        for name, setting in settings:
            for weights in WEIGHTS:
                yield self._fail(name, setting, weights, why)

    def _evaluate(self, name: str, setting: Setting, weights: str) -> Outcome:
        """A result from where it is stored, or computed; failed where what decides it cannot be read."""
        from evaluation.results.store import find_results

        try:
            key = self._key(name, setting, weights)
        except UserError as error:
            return self._fail(name, setting, weights, str(error))
        found = find_results(self._home, name, key, setting.name, self.warn)
        if found is None:
            return self._compute(name, setting, weights, key)
        return Outcome(self.run, self.name, name, setting, weights, *found, reused=True, seconds=0.0)

    def _fail(self, name: str, setting: Setting, weights: str, why: str) -> Outcome:
        from evaluation.results.store import FAILED, find_results

        key, note = self._identity(setting, weights), FAILED + why
        values, _ = find_results(self._home, name, key, setting.name, self.warn, any_version=True) or ([], "")
        if not values:
            return self._store(name, setting, weights, key, [], note, 0.0)
        return Outcome(self.run, self.name, name, setting, weights, values, note, reused=True, seconds=0.0)

    def _compute(self, name: str, setting: Setting, weights: str, key: ResultKey) -> Outcome:
        from evaluation.results.store import FAILED

        begun = time.monotonic()
        values: Sequence[ResultValue] = []
        note = ""
        self.predictions[weights].reads.clear()
        try:
            self._expect_view(setting.view)
            predictions = self.predictions[weights].of_view(setting.view)
            with full_convolutions():
                values = task(name).score(predictions, setting, task(name).read_settings(self.options))
            note = "" if values else NOTHING
        except NotAvailableError as error:
            note = f"{NOT_AVAILABLE}{error}"
        except UserError as error:
            note = f"{FAILED}{error}"
        except Exception as error:  # a fault of ours: it must not take the other results with it
            note = f"{FAILED}{type(error).__name__} in our code; the log of the run has the place."
            place = "".join(traceback.format_tb(error.__traceback__))  # no message: it may quote a report
            self.warn(f"{name}, {setting.name}, {weights}: {type(error).__name__}\n{place}")
        return self._store(name, setting, weights, key, values, note, time.monotonic() - begun)

    def _expect_view(self, view: str) -> None:
        """NotAvailableError where the dataset has no image of a view other than the usual one."""
        kinds = VIEWS[view]
        if view != FRONTAL and not np.isin(self.dataset.reader.kinds(), kinds).any():
            raise NotAvailableError(
                f"the shards of {self.name} have no {' or '.join(kinds)} images; where its archive has some, ingest "
                "them with `inventory: {views: [frontal, lateral]}`."
            )

    def _store(
        self,
        name: str,
        setting: Setting,
        weights: str,
        key: ResultKey,
        values: Sequence[ResultValue],
        note: str,
        seconds: float,
    ) -> Outcome:
        from evaluation.results.store import write_results

        reads = sorted(self.predictions[weights].reads) if values else ()
        record = asdict(self.compute)
        write_results(self._home, name, key, values or [no_value(name)], setting.name, note=note, reads=reads, **record)
        return Outcome(self.run, self.name, name, setting, weights, values, note, reused=False, seconds=seconds)

    def _report(self, outcome: Outcome) -> None:
        """In the log, and with the run in the tracker."""
        place = ", ".join((outcome.run_name, self.name, outcome.task, outcome.setting.name, outcome.weights))
        if outcome.failed:
            self.warn(f"{place}: {outcome.note}")
        else:
            self.log(f"{place}: {outcome.note or outcome.headline} ({outcome.seconds:.1f} s).")
        if self.tracker and not outcome.reused:
            try:
                self._tag_compute()
                numbers = {f"{self.prefix}{name}": value for name, value in outcome.numbers().items()}
                self.tracker.log_summary(
                    numbers, f"{self.prefix}{outcome.leading}" if self.prefix and outcome.leading else ""
                )
            except Exception as error:  # the numbers are in `results`: nothing that happens to MLflow may end this
                self.warn(f"{place}: MLflow did not take the numbers ({type(error).__name__}); `results` has them.")

    def _tag_compute(self) -> None:
        """Tell the tracker once where numbers are computed."""
        if self.tracker and not self._tagged:
            self._tagged = True
            self.tracker.tag({f"{TAG}.{name}": value for name, value in asdict(self.compute).items()})

    def _update_regions(self) -> None:
        """Bring the table of regions up to date; where that fails, the tasks that read it say why."""
        from ingestion.tables.regions import update_regions

        try:
            update_regions(self.dataset.workspace)
        except UserError as error:
            self.warn(str(error))

    @cached_property
    def simulated(self) -> bool:
        """Whether the images are simulated; an archive on object storage is read once."""
        return self.dataset.workspace.shows_simulation()

    @property
    def name(self) -> str:
        """The dataset."""
        return self.dataset.workspace.cohort_name()

    @property
    def _home(self) -> Path:
        return self.dataset.workspace.home_path()

    def _key(self, name: str, setting: Setting, weights: str) -> ResultKey:
        """What decides a result; UserError where the dataset cannot be read."""
        version = self.dataset.reader.manifest.digest
        return replace(self._identity(setting, weights), data_version=version, protocol=self._protocol(name, setting))

    def _identity(self, setting: Setting, weights: str) -> ResultKey:
        """What tells a result from others, whatever the data and the protocol."""
        from evaluation.results.store import ResultKey

        return ResultKey(
            method=self.run.name if weights == "trained" else f"untrained:{self.run.name}",
            checkpoint=self.predictions[weights].digest,
            mlflow_run=self.run.mlflow_run,
            cohort=self.name,
            data_version="",
            seed=self.run.seed,
            repeat=setting.repeat,
            simulated=self.simulated,
        )

    def _protocol(self, name: str, setting: Setting) -> str:
        """Digest of everything beside checkpoint and shards that decides a result."""
        chosen, facts = task(name), self.dataset.facts.facts()
        del facts["purposes"]  # they decide which tasks a dataset has, not what a task gives
        settings = chosen.read_settings(self.options)
        return fingerprint(
            name,
            asdict(setting),
            None if settings is None else asdict(settings),
            facts,
            self.dataset.subsets_digest(setting.repeat) if chosen.learning != NEVER else "",
            self.dataset.queries_digest() if QUERY_LABELS in chosen.reads else "",
            self.dataset.regions_digest() if REGION_TABLE in chosen.reads else "",
            self.dataset.triplets_digest() if TRIPLET_TABLE in chosen.reads else "",
            self.compute.precision,
            result_code(name, self.run.method),
            *filter(None, [chosen.digest_inputs(settings)]),
        )


def result_code(name: str, method: str) -> str:
    """Version of the code that decides the numbers of a task for a network of `method`."""
    from models.registry import evaluated_modules

    return code_version(task_module(name), "evaluation.predictions", "evaluation.dataset", *evaluated_modules(method))


def no_value(name: str) -> ResultValue:
    """What stands for the numbers of a task where there are none."""
    return ResultValue(task(name).leading, MACRO, None, None, None, 0)


def _plain(setting: str) -> str:
    """The name of a setting, such as `10 %, tuned`, without the signs that trackers do not take: `10pct tuned`."""
    return setting.replace(" %", "pct").replace(",", "")
