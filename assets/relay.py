"""Copies a running training's `metrics.jsonl` into MLflow, and its progress into the Dagster run's log."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from assets import tracking
from assets.tracking import RunIdentity, Tail, Tracker

POLL_SECONDS = 1.0


class Relay:
    """A thread that lives as long as the training; afterwards the MLflow run says how that ended.

    The thread also imports MLflow and opens the run, so that these seconds pass while the training starts.
    What fails in the thread is raised when the relay closes: training is never stopped by its bookkeeping.
    """

    def __init__(
        self,
        home: Path,
        identity: RunIdentity,
        metrics: Path,
        share_done: Callable[[Mapping[str, Any]], float],
        log: Callable[[str], None],
    ) -> None:
        self._home = home
        self._identity = identity
        self._metrics = Tail(metrics)
        self._share_done = share_done
        self._log = log
        self._tenths = 0
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
            self._tracker = tracking.open_run(self._home, self._identity)
            while not self._stopped.wait(POLL_SECONDS):
                self._forward()
            self._forward()
        except Exception as error:
            self._error = error

    def _forward(self) -> None:
        lines = self._metrics.read()
        if not lines:
            return
        self.tracker.log_steps(lines)
        share = self._share_done(lines[-1])
        if int(10 * share) != self._tenths:
            self._log(f"{share:.0%}: {describe(lines[-1])}")
        self._tenths = int(10 * share)


def describe(line: Mapping[str, Any]) -> str:
    """One line of progress."""
    metrics = line["metrics"]
    parts = [f"step {line['step']}", f"epoch {line['epoch']:.1f}"]
    parts += [f"{name.removeprefix('train/')} {metrics[name]:.4g}" for name in metrics if "loss" in name]
    if "samples_per_second" in metrics:
        parts.append(f"{metrics['samples_per_second']:.0f} samples/s")
    return ", ".join(parts)


def _status(error: BaseException | None) -> str:
    if error is None:
        return "FINISHED"
    return "FAILED" if isinstance(error, Exception) else "KILLED"  # an interrupt is no Exception
