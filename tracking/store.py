"""The MLflow store of a home, `mlflow.db`, however it is found.

No number depends on it. A damaged one is set aside and a new one is made: the next training of each run records it
again from its `metrics.jsonl`. A store that cannot be used now is a TrackingError, which stops nothing. Importing
MLflow takes seconds, so functions import it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from store.errors import UserError, sentence_of
from tracking.layout import TAGS

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE, ARTIFACTS, LOCK = "mlflow.db", "mlartifacts", "mlflow.lock"
EXPERIMENT = "radalign"
LOCK_SECONDS = 5.0  # to wait for another process that holds the database
OTHER_SCHEMA = ("out-of-date database schema", "Can't locate revision")

_warn = logging.getLogger(__name__).warning
_seen: dict[Path, tuple[int, int]] = {}  # database -> its inode, and how often it was replaced under this process


class TrackingError(UserError):
    """MLflow cannot record or tell something; the message is one sentence for the user."""


class StoreBusyError(TrackingError):
    """Another process holds the database; it may work later."""


def tracking_uri(home: Path) -> str:
    """Absolute address of the store: MLflow's own default depends on the working directory."""
    return f"sqlite:///{home.resolve() / DATABASE}"


def create_store(home: Path) -> str:
    """Make sure that the store and its experiment are there; returns its address."""
    connect(home)
    return tracking_uri(home)


def experiment_id(home: Path) -> str:
    """The experiment that holds every run of this home, which the address of a run's page names."""
    return connect(home)[1]


def has_store(home: Path) -> bool:
    """Whether anything was ever tracked in this home; costs no import of MLflow."""
    return (home / DATABASE).exists()


def connect(home: Path, warn: Callable[[str], object] = _warn) -> tuple[MlflowClient, str]:
    """A client on this home's store, and the experiment of its runs.

    A damaged store is set aside, which `warn` is told. Two processes that create the schema at once crash: hence the
    lock. TrackingError where the store cannot be used.
    """
    path = home.resolve() / DATABASE
    with explaining(home), locked(home):
        _set_aside_damaged(path, warn)
        from mlflow import MlflowClient

        client = MlflowClient(_address(path))
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            artifacts = (home / ARTIFACTS).resolve().as_uri()
            experiment_id = str(client.create_experiment(EXPERIMENT, artifacts, TAGS))
        else:
            experiment_id = str(experiment.experiment_id)
            if experiment.lifecycle_stage == "deleted":
                client.restore_experiment(experiment_id)
            for name in TAGS.keys() - experiment.tags.keys():  # of a former version
                client.set_experiment_tag(experiment_id, name, TAGS[name])
        _seen[path] = path.stat().st_ino, _seen[path][1]
        return client, experiment_id


@contextmanager
def explaining(home: Path) -> Iterator[None]:
    """Raise a TrackingError for whatever MLflow, its database or a disk raises."""
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        path = home / DATABASE
        if "database is locked" in text:
            raise StoreBusyError(
                f"{path} is held by another process, so MLflow records nothing now; end that process."
            ) from error
        if any(sign in text for sign in OTHER_SCHEMA):
            raise TrackingError(
                f"{path} is of another version of MLflow, so nothing is recorded there; install that version, or move "
                "the file away: a new one is made."
            ) from error
        why = sentence_of(error) or f"{type(error).__name__}: {text[:200]}"
        raise TrackingError(f"MLflow does not record this in {path}: {why}") from error


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """What is done in here is done by one process at a time."""
    path = home / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _set_aside_damaged(path: Path, warn: Callable[[str], object]) -> None:
    """Rename a database that SQLite calls damaged, and remove the journal that belongs to it, or an empty one."""
    if path.is_file() and not path.stat().st_size:
        path.unlink()  # the connections that MLflow has to it would take it for the one before
    if not path.exists() or not _is_damaged(path):
        return
    aside = path.with_name(f"{path.name}.damaged")
    for ending in ("-journal", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    os.replace(path, aside)
    warn(f"{path} is damaged; it is set aside as {aside.name}, and a new one records the runs that are trained again.")


def _is_damaged(path: Path) -> bool:
    """Whether SQLite finds a fault in a database."""
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as database:
        try:
            found: str = database.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.OperationalError:  # held by another process, or not to be opened
            raise
        except sqlite3.DatabaseError:
            return True
    return found != "ok"


def _address(path: Path) -> str:
    """Where MLflow finds the database: spelled anew where another file has taken its place.

    MLflow keeps its connections by address, also those to a file that is gone.
    """
    inode = path.stat().st_ino if path.exists() else 0
    before, replaced = _seen.get(path, (inode, 0))
    replaced += inode != before
    _seen[path] = inode, replaced
    return f"sqlite:///{path.parent}/{'./' * replaced}{path.name}"
