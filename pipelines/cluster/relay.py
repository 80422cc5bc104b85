"""Shows in the terminal of a run what its workers log, which is in the history."""

from __future__ import annotations

import sys
import time
from logging import getLevelName
from typing import TYPE_CHECKING

from pipelines.cluster.steps import is_batch

if TYPE_CHECKING:
    import dagster as dg

PAGE = 1000  # records that are read at once


class Relay:
    """Reads the history of a run and prints the lines of workers, as Dagster prints those of this process."""

    def __init__(self) -> None:
        self._cursor: str | None = None

    def show(self, instance: dg.DagsterInstance, run: str) -> None:
        """Print what came since the last time."""
        found = instance.get_records_for_run(run, cursor=self._cursor, limit=PAGE)
        self._cursor = found.cursor
        for entry in (record.event_log_entry for record in found.records):
            if entry.dagster_event is None and is_batch(entry.step_key or ""):
                when = time.strftime("%Y-%m-%d %H:%M:%S +0000", time.gmtime(entry.timestamp))
                level, place = getLevelName(int(entry.level)), f"{entry.job_name} - {run} - {entry.step_key}"
                sys.stderr.write(f"{when} - dagster - {level} - {place} - {entry.user_message}\n")
        sys.stderr.flush()
