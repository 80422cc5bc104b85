"""A PostgreSQL database that MLflow records in without a server of its own.

Its tables are made by the first process that opens it. A database of something else, or of another version of MLflow,
is refused before anything is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from store.errors import with_causes
from tracking.errors import StoreBusyError, TrackingError
from tracking.places.postgres import (
    CONNECTING,
    PATIENCE_SECONDS,
    Database,
    DatabaseError,
    describe_tables,
    is_refusal,
    will_pass,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

OWN = "experiments"  # a table of MLflow whose name Dagster has not
REVISION = re.compile(r"^(down_)?revision\s*=\s*['\"](\w+)['\"]", re.MULTILINE)
CREATING = 0x6D6C_666C  # the number of the lock that the process holds which makes the tables

Warn = Callable[[str], object]


class DatabasePlace:
    """The tables of MLflow in a PostgreSQL database, and a folder of files beside it."""

    shared = True
    patience = PATIENCE_SECONDS

    def __init__(self, database: Database, artifacts: str) -> None:
        self.database = database
        self._artifacts = artifacts

    def __str__(self) -> str:
        return f"the database {self.database}"

    def exists(self) -> bool:
        """Somebody has named it."""
        return True

    def expect(self) -> None:
        """TrackingError where the database cannot be used, or holds tables of something else or of another version."""
        self._ask(self._are_there)

    def uri(self) -> str:
        """A server that does not answer is noticed as elsewhere."""
        options = {name: str(value) for name, value in CONNECTING.items()}
        return self.database.url.update_query_dict(options).render_as_string(hide_password=False)

    def artifacts(self) -> str:
        """A folder that all who read the records can read."""
        return self._artifacts

    @contextmanager
    def opening(self, warn: Warn) -> Iterator[None]:
        """Where the tables are missing, one process at a time, on whatever machine."""
        if self._ask(self._are_there):
            yield
            return
        with self.database.engine().connect() as connection:
            with _said_of_mlflow():
                self.database.take_turn(connection, CREATING)
            yield

    def explain(self, error: Exception) -> TrackingError | None:
        """What an error means that the server has caused."""
        for one in with_causes(error):
            if will_pass(one):
                return StoreBusyError(str(self.database.explain(one)))
            if is_refusal(one):
                return TrackingError(str(self.database.explain(one)))
        return None

    def _ask(self, question: Callable[[Connection], bool]) -> bool:
        def ask() -> bool:
            with self.database.engine().connect() as connection:
                return question(connection)

        with _said_of_mlflow():
            return self.database.patiently(ask)

    def _are_there(self, connection: Connection) -> bool:
        """Whether all tables are there, of this version; DatabaseError where other tables are."""
        from alembic.migration import MigrationContext
        from sqlalchemy import inspect

        tables = set(inspect(connection).get_table_names())
        if not tables:
            return False
        name = f"{self.database.variable}: the database {self.database}"
        other = "or name an empty database."
        if OWN not in tables:
            found = describe_tables(tables)
            raise DatabaseError(f"{name} is not one of MLflow ({found}): correct the address, {other}")
        version = MigrationContext.configure(connection).get_current_revision()
        known, newest = revisions()
        if version is None or version in newest:
            return version is not None
        raise DatabaseError(
            f"{name} has tables of an older version of MLflow: run `mlflow db upgrade` once, after a backup, {other}"
            if version in known
            else f"{name} has tables of another version of MLflow: install the version that made them, {other}"
        )


@contextmanager
def _said_of_mlflow() -> Iterator[None]:
    """What keeps the database from being used is a TrackingError."""
    try:
        yield
    except DatabaseError as error:
        raise TrackingError(str(error)) from None


def revisions() -> tuple[set[str], set[str]]:
    """The versions of its tables that this MLflow knows, and the newest, read without importing MLflow."""
    spec = find_spec("mlflow")
    assert spec is not None
    assert spec.origin is not None
    known: set[str] = set()
    before: set[str] = set()
    for path in (Path(spec.origin).parent / "store" / "db_migrations" / "versions").glob("*.py"):
        for down, revision in REVISION.findall(path.read_text(encoding="utf-8")):
            (before if down else known).add(revision)
    return known, known - before
