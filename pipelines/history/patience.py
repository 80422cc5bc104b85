"""Dagster's storage in PostgreSQL, whose calls survive a restart of the server.

Dagster opens a connection for every call and tries that again for some seconds. Here whole calls are repeated, as long
as a restart takes, and what they write is there once: a call that inserts rows is one transaction, and where the
connection breaks while it is committed, the rows are looked for before it is repeated.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

from dagster import DagsterRun
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.daemon_cursor import DaemonCursorStorage
from dagster._core.storage.event_log import SqlEventLogStorageTable
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.runs.base import RunStorage
from dagster._core.storage.schedules.base import ScheduleStorage
from dagster._serdes import serialize_value
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage
from dagster_postgres.utils import set_pg_statement_timeout
from sqlalchemy import Connection, Engine, event, select

from tracking.places.postgres import Database

# Calls that work on a whole database or on no connection of their own; who gives such a command gives it again.
LEFT_ALONE = {
    "dispose", "migrate", "optimize", "optimize_for_webserver", "reindex_assets", "reindex_events", "upgrade", "watch",
    "end_watch", "wipe",
}  # fmt: skip

T = TypeVar("T")
_warn = logging.getLogger(__name__).warning


def _repeated(method: Callable[..., T]) -> Callable[..., T]:
    """A method that is called again when the server was away."""

    @wraps(method)
    def call(self: Patient, *given: Any, **named: Any) -> T:
        if self.here.calls:  # inside another call, which is repeated as a whole
            return method(self, *given, **named)
        self.here.calls, self.here.tries = True, 0
        try:
            return self.database.patiently(lambda: method(self, *given, **named), _warn)
        finally:
            self.here.calls = False

    return call


def patient(*interfaces: type) -> Callable[[type[T]], type[T]]:
    """Repeats the calls of a storage that are part of its interfaces."""

    def decorate(storage: type[T]) -> type[T]:
        names = {name for one in interfaces for name, member in vars(one).items() if inspect.isfunction(member)}
        for name in names - LEFT_ALONE:
            method = getattr(storage, name)
            if not name.startswith("_") and not inspect.isgeneratorfunction(method):
                setattr(storage, name, _repeated(method))
        return storage

    return decorate


class _Here(threading.local):
    """What a thread is doing."""

    calls = False  # inside a call that is repeated as a whole
    tries = 0  # of this call to write
    connection: Connection | None = None  # of the transaction that the call is


class Patient:
    """A storage of Dagster on a database. Its calls are repeated where the class is decorated with `patient`."""

    database: Database
    _engine: Engine

    def __init__(self, database: Database) -> None:
        self.database, self.here = database, _Here()
        super().__init__(database.address, should_autocreate_tables=False)  # type: ignore[call-arg]
        self._engine = database.engine()

    @contextmanager
    def connect(self, run_id: str | None = None) -> Iterator[Connection]:
        """A connection for a call, or that of its transaction."""
        if self.here.connection is not None:
            yield self.here.connection
        else:
            with self._engine.connect() as connection:
                yield connection

    _connect = connect

    def once(self, write: Callable[[], T], is_written: Callable[[], bool], result: T) -> T:
        """Write in one transaction, or return `result` where an earlier try that broke off was committed after all."""
        if self.here.connection is not None:
            return write()
        if self.here.tries and is_written():
            return result
        self.here.tries += 1
        with self._engine.connect() as connection:
            shared = connection.execution_options(isolation_level="READ COMMITTED")
            with shared.begin():
                self.here.connection = shared
                try:
                    return write()
                finally:
                    self.here.connection = None

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
        """Keep a connection open, as Dagster does, and look whether it still lives before it is used."""
        self._engine = self.database.engine(
            pool_size=1, pool_recycle=pool_recycle, max_overflow=max_overflow, pool_pre_ping=True
        )

        def limit(connection: Any, _: object) -> None:
            set_pg_statement_timeout(connection, statement_timeout)

        event.listen(self._engine, "connect", limit)


@patient(RunStorage, DaemonCursorStorage)
class Runs(Patient, PostgresRunStorage):
    """The runs and their tags."""

    def add_run(self, dagster_run: DagsterRun) -> DagsterRun:
        """Add a run once."""
        add = super().add_run
        return self.once(lambda: add(dagster_run), lambda: self.has_run(dagster_run.run_id), dagster_run)

    def add_run_tags(self, run_id: str, new_tags: Mapping[str, str]) -> None:
        """Set tags; doing so twice is doing so once."""
        add = super().add_run_tags
        self.once(lambda: add(run_id, new_tags), lambda: False, None)


@patient(EventLogStorage)
class Events(Patient, PostgresEventLogStorage):
    """The events of runs, and what they say of assets and checks."""

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event once."""
        store = super().store_event
        self.once(lambda: store(event), lambda: self._has(event), None)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events once."""
        store = super().store_event_batch
        self.once(lambda: store(events), lambda: all(map(self._has, events)), None)

    def _has(self, entry: EventLogEntry) -> bool:
        row = SqlEventLogStorageTable.c
        same = (row.run_id == entry.run_id, row.event == serialize_value(entry))
        with self.connect() as connection:
            return connection.execute(select(row.id).where(*same).limit(1)).first() is not None


@patient(ScheduleStorage)
class Schedules(Patient, PostgresScheduleStorage):
    """What schedules and sensors have done."""
