"""Copies the `metrics.jsonl` of a running training into MLflow, and a line of every epoch and the last into a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tracking import tracker as tracking
from tracking.store import TrackingError
from tracking.tracker import RunIdentity, Tail, Tracker
from training.monitoring.lines import Line

POLL_SECONDS = 1.0
QUIET_SECONDS = 300.0  # the longest time without a line in the log, however long the epochs are
SHOWN = ("learning_rate", "gradient_norm", "temperature", "samples_per_second", "data_wait", "utilisation", "memory_gb")


class Relay:
    """A thread that lives as long as the training; afterwards the MLflow run says how that ended.

    The thread also calls `first`, imports MLflow and opens the run, so that these seconds pass while the training
    starts. What fails in the thread is a sentence for `warn`: training is neither stopped nor lost by its bookkeeping.
    """

    def __init__(
        self,
        home: Path,
        identity: RunIdentity,
        metrics: Path,
        log: Callable[[str], None],
        first: Callable[[], None] | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._home = home
        self._identity = identity
        self._log, self._warn = log, warn or log
        self._metrics = Tail(metrics, self._warn)
        self._first = first
        self._logged: tuple[int, float] = (0, time.monotonic())  # epoch and time of the last line in the log
        self._unsaid: Line | None = None  # the newest line, while it is not in the log
        self._stopped = threading.Event()
        self._tracker: Tracker | None = None
        self._unrecorded: list[Line] = []  # while there is no MLflow run
        self._thread = threading.Thread(target=self._follow, name="metrics-relay", daemon=True)

    @property
    def tracker(self) -> Tracker | None:
        """The MLflow run; None where the store could not be used."""
        return self._tracker

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        if self._tracker is not None:
            self._tracker.end(_status(error))

    def _follow(self) -> None:
        if self._first:
            self._try(self._first)
        self._try(self._open)
        while not self._stopped.wait(POLL_SECONDS):
            self._try(self._forward)
        if self._tracker is None:
            self._try(self._open)
        self._try(lambda: self._forward(last=True))

    def _try(self, call: Callable[[], None]) -> None:
        try:
            call()
        except TrackingError as error:
            self._warn(str(error))
        except Exception as error:  # a fault of ours
            self._warn(f"The record of this training in MLflow has a gap: {type(error).__name__} in our code.")

    def _open(self) -> None:
        self._tracker = tracking.open_run(self._home, self._identity, self._warn)

    def _forward(self, last: bool = False) -> None:
        lines = self._metrics.read()
        self._unrecorded += lines
        if self._tracker is not None:
            self._tracker.log_steps(self._unrecorded)
            self._unrecorded.clear()
        self._unsaid = lines[-1] if lines else self._unsaid
        if self._unsaid is None:
            return
        epoch, (logged_epoch, logged) = int(self._unsaid["epoch"]), self._logged
        if last or epoch != logged_epoch or time.monotonic() - logged > QUIET_SECONDS:
            self._log(describe(self._unsaid))
            self._logged, self._unsaid = (epoch, time.monotonic()), None


def describe(line: Mapping[str, Any]) -> str:
    """One line of progress."""
    metrics = line["metrics"]
    parts = [f"step {line['step']}", f"epoch {line['epoch']:.1f}"]
    parts += [f"{name.removeprefix('train/')} {metrics[name]:.4g}" for name in metrics if "loss" in name]
    parts += [f"{name} {metrics[name]:.3g}" for name in SHOWN if name in metrics]
    return ", ".join(parts)


def _status(error: BaseException | None) -> str:
    if error is None:
        return "FINISHED"
    return "FAILED" if isinstance(error, Exception) else "KILLED"  # an interrupt is no Exception
