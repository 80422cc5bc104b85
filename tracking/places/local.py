"""The SQLite file `mlflow.db` in a home: the default.

No number depends on it. A damaged one is set aside and a new one is made: the next training of each run records it
again from its `metrics.jsonl`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tracking.errors import StoreBusyError, TrackingError
from tracking.places.locking import locked

DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"
LOCK_SECONDS = 5.0  # to wait for another process that holds the database
OTHER_SCHEMA = ("out-of-date database schema", "Can't locate revision")

Warn = Callable[[str], object]
_seen: dict[Path, tuple[int, int]] = {}  # database -> its inode, and how often it was replaced under this process


class LocalPlace:
    """The SQLite file of a home."""

    shared = False
    patience = 0.0

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home.resolve() / DATABASE

    def __str__(self) -> str:
        return str(self.home / DATABASE)

    def exists(self) -> bool:
        """Whether the file is there."""
        return (self.home / DATABASE).exists()

    def expect(self) -> None:
        """It is made where it is missing."""

    def uri(self) -> str:
        """Spelt anew where another file has taken its place.

        MLflow keeps its connections by address, also those to a file that is gone.
        """
        inode = self.path.stat().st_ino if self.path.exists() else 0
        before, replaced = _seen.get(self.path, (inode, 0))
        replaced += inode != before
        _seen[self.path] = inode, replaced
        return f"sqlite:///{self.path.parent}/{'./' * replaced}{self.path.name}"

    def artifacts(self) -> str:
        """A folder of the home."""
        return (self.home / ARTIFACTS).resolve().as_uri()

    @contextmanager
    def opening(self, warn: Warn) -> Iterator[None]:
        """One process at a time: two that make the tables at once disturb each other. A damaged file is set aside."""
        with locked(self.home):
            _set_aside_damaged(self.path, warn)
            yield
            if self.path in _seen:
                _seen[self.path] = self.path.stat().st_ino, _seen[self.path][1]

    def explain(self, error: Exception) -> TrackingError | None:
        """What an error means that SQLite or the tables of another version have caused."""
        text = str(error)
        if "database is locked" in text:
            return StoreBusyError(
                f"{self} is held by another process, so MLflow records nothing now; end that process."
            )
        if any(sign in text for sign in OTHER_SCHEMA):
            return TrackingError(
                f"{self} is of another version of MLflow, so nothing is recorded there; install that version, or move "
                "the file away: a new one is made."
            )
        return None


def _set_aside_damaged(path: Path, warn: Warn) -> None:
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
