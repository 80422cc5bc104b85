"""Copies the `metrics.jsonl` of a running training into MLflow, and the last line of every epoch into a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tracking import tracker as tracking
from tracking.tracker import RunIdentity, Tail, Tracker

POLL_SECONDS = 1.0
QUIET_SECONDS = 300.0  # the longest time without a line in the log, however long the epochs are
SHOWN = ("learning_rate", "gradient_norm", "temperature", "samples_per_second", "data_wait", "utilisation", "memory_gb")


class Relay:
    """A thread that lives as long as the training; afterwards the MLflow run says how that ended.

    The thread also calls `first`, imports MLflow and opens the run, so that these seconds pass while the training
    starts.
    What fails in the thread is raised when the relay closes: training is never stopped by its bookkeeping.
    """

    def __init__(
        self,
        home: Path,
        identity: RunIdentity,
        metrics: Path,
        log: Callable[[str], None],
        first: Callable[[], None] | None = None,
    ) -> None:
        self._home = home
        self._identity = identity
        self._metrics = Tail(metrics)
        self._log = log
        self._first = first
        self._logged: tuple[int, float] = (0, time.monotonic())  # epoch and time of the last line
        self._stopped = threading.Event()
        self._error: Exception | None = None
        self._tracker: Tracker | None = None
        self._thread = threading.Thread(target=self._follow, name="metrics-relay", daemon=True)

    @property
    def tracker(self) -> Tracker:
        """The MLflow run; there once the relay is closed without an error."""
        if self._tracker is None:
            raise RuntimeError("The relay has not opened an MLflow run")
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
        if self._error is not None and error is None:
            raise self._error

    def _follow(self) -> None:
        try:
            if self._first:
                self._first()
            self._tracker = tracking.open_run(self._home, self._identity)
            while not self._stopped.wait(POLL_SECONDS):
                self._forward(last=False)
            self._forward(last=True)
        except Exception as error:
            self._error = error

    def _forward(self, last: bool) -> None:
        lines = self._metrics.read()
        if not lines:
            return
        self.tracker.log_steps(lines)
        epoch, (logged_epoch, logged) = int(lines[-1]["epoch"]), self._logged
        if last or epoch != logged_epoch or time.monotonic() - logged > QUIET_SECONDS:
            self._log(describe(lines[-1]))
            self._logged = epoch, time.monotonic()


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
