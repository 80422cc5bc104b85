"""Ends the records of runs whose processes were killed.

Dagster and MLflow learn of the end of a run from its own process. After a kill or a power cut the next training, or the
sensor `dead_runs`, marks the run as ended.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from store.processes import process_lives
from tracking import tracker as tracking

HOST_TAG = "radalign/host"  # of a run: the machine that executes it
IN_PROGRESS = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def end_with_parent() -> None:
    """Where an executor gave the step a process of its own: end it when the process of the run has gone.

    The kernel's signal to children (training/__main__.py) would come already when a thread of the parent ends.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def close_dead_trainings(instance: dg.DagsterInstance, home: Path) -> None:
    """Close runs that MLflow and Dagster still show as running. The caller holds the home's training lock.

    The lock shows that nobody else trains in this home, so a run that MLflow shows as running is dead.
    """
    if not tracking.has_store(home):
        return
    for run_id, dagster_run in tracking.running(home).items():
        run = instance.get_run_by_id(dagster_run)
        if run is not None and not run.is_finished and worker_is_gone(instance, dagster_run):
            close(instance, run, "Its process is gone: another training has found its lock free.")
        tracking.end(home, run_id, _mlflow_status(instance, dagster_run))


def close_silent_runs(instance: dg.DagsterInstance, home: Path, seconds: float) -> Iterator[str]:
    """Close runs without an event for so long whose process is gone, and yield a sentence about each silent run.

    A process that lives is left alone: a long step may have nothing to say. Then MLflow is brought in line.
    """
    for run in instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS)):
        silence = time.time() - last_event(instance, run.run_id)
        if silence < seconds:
            continue
        sentence = f"Run {run.run_id} of {run.job_name} has reported nothing for {silence / 60:.0f} minutes"
        if not is_here(run):
            yield f"{sentence}; it is executed by {run.tags[HOST_TAG]}, whose processes are not seen from here."
            continue
        if not worker_is_gone(instance, run.run_id):
            yield f"{sentence}, but its process lives."
            continue
        close(instance, run, f"No event for {silence / 60:.0f} minutes, and its process is gone.")
        yield f"{sentence}; it is marked as ended."
    _close_mlflow(instance, home)


def close(instance: dg.DagsterInstance, run: dg.DagsterRun, why: str) -> None:
    """Mark a dead run as failed, or as canceled where somebody had asked for that."""
    if run.status == dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, why)
    else:
        instance.report_run_failed(run, why)


def last_event(instance: dg.DagsterInstance, run_id: str) -> float:
    """Unix time of the last event of a run, log lines included, or of its creation where there is none."""
    records = instance.get_records_for_run(run_id, limit=1, ascending=False).records
    if records:
        return records[0].timestamp
    record = instance.get_run_record_by_id(run_id)
    return record.create_timestamp.timestamp() if record else 0.0


def this_host() -> str:
    """What this machine is called in the history."""
    return socket.gethostname()


def is_here(run: dg.DagsterRun) -> bool:
    """Whether this machine executes a run, as far as anybody has noted it."""
    return run.tags.get(HOST_TAG, this_host()) == this_host()


def worker_is_gone(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the process that executes a run, which Dagster notes at its start, is no longer there.

    That of another machine is taken to be there: its number says nothing here.
    """
    run = instance.get_run_by_id(run_id)
    if run is not None and not is_here(run):
        return False
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        data = entry.dagster_event.engine_event_data if entry.dagster_event else None
        if data is not None and "pid" in data.metadata:
            return not process_lives(int(str(data.metadata["pid"].value)), entry.timestamp)
    return True


def _close_mlflow(instance: dg.DagsterInstance, home: Path) -> None:
    """Close what MLflow calls running although its Dagster run has ended: its step was killed."""
    if not tracking.has_store(home):
        return
    for run_id, dagster_run in tracking.running(home).items():
        run = instance.get_run_by_id(dagster_run)
        if run is not None and run.is_finished:
            tracking.end(home, run_id, _mlflow_status(instance, dagster_run))


def _mlflow_status(instance: dg.DagsterInstance, dagster_run: str) -> str:
    """What MLflow calls the end of a training whose Dagster run ended so."""
    run = instance.get_run_by_id(dagster_run)
    return "KILLED" if run is not None and run.status == dg.DagsterRunStatus.CANCELED else "FAILED"
