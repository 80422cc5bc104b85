"""The history of runs in a PostgreSQL database, which several people and machines share.

Its tables are made by the first process that opens it. A database of something else, or of another version of Dagster,
is refused before anything is written.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import dagster
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from dagster._core.storage.event_log import SqlEventLogStorageMetadata
from dagster._core.storage.runs.schema import RunStorageSqlMetadata
from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, event_log
from dagster_postgres.utils import pg_alembic_config
from sqlalchemy import Connection, inspect

from pipelines.history.patience import Events, Runs, Schedules
from tracking.places.postgres import Database, DatabaseError, describe_tables

PARTS = (RunStorageSqlMetadata, SqlEventLogStorageMetadata, ScheduleStorageSqlMetadata)
TABLES = {name for part in PARTS for name in part.tables}
VERSION = "alembic_version"  # a table of many programs
OWN = "event_logs"  # a table of Dagster whose name nothing else has
MIGRATE = ["instance", "migrate"]  # the command of Dagster that mends an older version
CREATING = 0x5261_6461  # the number of the lock that the process holds which makes the tables


_warn = logging.getLogger(__name__).warning


class PostgresHistory(DagsterPostgresStorage):
    """Dagster's storage, whose calls survive a restart of the server.

    DatabaseError where the database cannot be used.
    """

    def __init__(self, database: Database, inst_data: ConfigurableClassData | None = None) -> None:
        database.patiently(lambda: prepare(database), _warn)
        self._inst_data = inst_data
        self.should_autocreate_tables = False
        self._run_storage = Runs(database)
        self._event_log_storage = Events(database)
        self._schedule_storage = Schedules(database)
        self.postgres_url = database.address


def prepare(database: Database) -> None:
    """Make the tables of Dagster in an empty database, one process at a time.

    DatabaseError for a database of something else.
    """
    with database.engine().connect() as connection:
        if _are_there(connection, database):
            return
        database.take_turn(connection, CREATING)
        if not _are_there(connection, database):
            DagsterPostgresStorage(database.address)


def _are_there(connection: Connection, database: Database) -> bool:
    """Whether all tables are there, of this version; DatabaseError where other tables are."""
    tables = set(inspect(connection).get_table_names())
    if OWN not in tables and not tables <= TABLES | {VERSION}:
        raise DatabaseError(
            f"{database.variable}: the database {database} is not one of Dagster ({describe_tables(tables)}): name an "
            "empty one, or one that Dagster has made."
        )
    if OWN in tables:
        _expect_version(connection, database)
    return tables >= TABLES


def _expect_version(connection: Connection, database: Database) -> None:
    found = MigrationContext.configure(connection).get_current_revision()
    scripts: Any = ScriptDirectory.from_config(pg_alembic_config(event_log.__file__))
    if found in (None, scripts.get_current_head()) or sys.argv[1:3] == MIGRATE:
        return
    try:
        known = bool(scripts.get_revision(found))
    except CommandError:
        known = False
    remedy = (
        "run `dagster instance migrate` once, after a backup"
        if known
        else f"install the version of Dagster that made it, which is newer than {dagster.__version__}"
    )
    raise DatabaseError(
        f"{database.variable}: the tables in the database {database} are of {'an older' if known else 'another'} "
        f"version of Dagster: {remedy}, or name an empty database."
    )
