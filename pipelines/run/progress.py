"""Follows the history of a run while it goes on: a line per stage that is done, a bar for the one that is not."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.datasets import READY
from pipelines.run.failures import Ending, explain_failure, title_of
from pipelines.run.screen import Screen

POLL_SECONDS = 0.5
TRAINING = re.compile(r"step \d+, epoch ([\d.]+)")  # tracking/relay.py
PAGE = 1000  # events that are read at once


class Follower:
    """Reads the events of the run with a tag in a thread, whatever processes they come from, and shows them."""

    def __init__(self, instance: dg.DagsterInstance, tag: Mapping[str, str], screen: Screen, epochs: float) -> None:
        """`epochs` is how long the training of the run is; 0 where there is none."""
        self.progress = Progress(screen, epochs)
        self._instance, self._tag = instance, dict(tag)
        self._cursor: str | None = None
        self._run_id = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="run-follower", daemon=True)

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._read()

    def _follow(self) -> None:
        while not self._stopped.wait(POLL_SECONDS):
            self._read()

    def _read(self) -> None:
        if not self._run_id:
            runs = self._instance.get_runs(dg.RunsFilter(tags=self._tag), limit=1)
            if not runs:
                return
            self._run_id = runs[0].run_id
        while True:
            found = self._instance.get_records_for_run(self._run_id, cursor=self._cursor, limit=PAGE)
            for record in found.records:
                self.progress.show(record.event_log_entry)
            self._cursor = found.cursor
            if not found.has_more:
                return


class Progress:
    """What of the events is shown."""

    def __init__(self, screen: Screen, epochs: float) -> None:
        self._screen, self._epochs = screen, epochs
        self._begun: dict[str, float] = {}  # stage -> time of its first step
        self._batches: dict[str, list[int]] = {}  # stage -> batches that are done, and all
        self._failed_checks: list[str] = []
        self.ending: Ending | None = None  # the first failure

    def show(self, entry: dg.EventLogEntry) -> None:
        """Show one event, or one line of the log."""
        event = entry.dagster_event
        if event is None:
            self._show_message(entry)
            return
        stage = title_of(event.step_key) if event.step_key else ""
        kind = event.event_type
        if kind == dg.DagsterEventType.STEP_START:
            self._begun.setdefault(stage, entry.timestamp)
        elif kind == dg.DagsterEventType.STEP_OUTPUT and event.step_output_data.step_output_handle.mapping_key:
            self._batches.setdefault(stage, [0, 0])[1] += 1
        elif kind == dg.DagsterEventType.STEP_SUCCESS and "[" in (event.step_key or ""):
            self._batches.setdefault(stage, [0, 0])[0] += 1
            self._show_batches(stage, "")
        elif kind == dg.DagsterEventType.ASSET_MATERIALIZATION:
            self._show_asset(event, entry.timestamp - self._begun.get(stage, entry.timestamp))
        elif kind == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            self._show_check(event)
        elif kind in (dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE):
            self.ending = self.ending or explain_failure(event, self._failed_checks)
        elif kind == dg.DagsterEventType.RUN_CANCELED:
            self.ending = Ending("", stopped=True)

    def _show_message(self, entry: dg.EventLogEntry) -> None:
        text = entry.user_message.partition("\n")[0]
        stage = title_of(entry.step_key) if entry.step_key else ""
        level = int(entry.level)
        if level >= logging.WARNING:
            if level == logging.WARNING:
                self._screen.warn(text)
            elif stage:  # Dagster's own errors say which steps did not run
                self._screen.line(f"  error: {text}")
        elif match := TRAINING.search(text):
            self._screen.progress(stage, float(match[1]), self._epochs, text)
        elif stage in self._batches:
            self._show_batches(stage, text)
        elif stage:
            self._screen.progress(stage, 0, 0, text)

    def _show_batches(self, stage: str, text: str) -> None:
        done, total = self._batches[stage]
        self._screen.progress(stage, done, total, text)

    def _show_asset(self, event: Any, seconds: float) -> None:
        values = {name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()}
        name = event.asset_key.to_user_string()
        self._screen.line(f"{name:<24} {describe_counts(values)}  ({seconds:.1f} s)")

    def _show_check(self, event: Any) -> None:
        check = event.asset_check_evaluation_data
        if check.passed or check.check_name == READY:
            return
        about = f": {check.description.rstrip('.')}" if check.description else ""
        sentence = f"The check {check.check_name} of {check.asset_key.to_user_string()} did not pass{about}."
        if check.severity == dg.AssetCheckSeverity.ERROR:
            self._failed_checks.append(sentence)
        self._screen.line(f"  note: {sentence}")


def describe_counts(values: Mapping[str, Any]) -> str:
    """The counts that an asset reports, as words."""
    parts = []
    if "status" in values:  # of a downstream dataset
        parts.append(str(values["status"]))
    if (rows := values.get("dagster/row_count", values.get("rows"))) is not None:
        parts.append(f"{rows:,} rows")
    if values.get("rejects"):
        parts.append(f"{values['rejects']:,} rejects")
    computed = values.get("computed")
    if "batches" in values:
        parts.append(f"{computed} of {values['batches']} batches computed")
    elif "found in results" in values:
        parts.append(f"{computed} results computed, {values['found in results']} there already")
    if "trained" in values:
        parts.append(f"{values['steps']} steps" if values["trained"] else "trained before")
    if values.get("failed"):
        parts.append(f"{values['failed']} failed")
    return ", ".join(parts) or "done"
