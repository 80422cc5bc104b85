"""Where Dagster keeps the history of runs: SQLite files in the home, or the database that RADALIGN_DATABASE names.

`dagster.yaml` names `History`, `Artifacts` and `Logs`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.base_storage import DagsterStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from pipelines.history.local import Artifacts as Artifacts
from pipelines.history.local import LocalHistory
from pipelines.history.local import Logs as Logs
from store.errors import UserError
from tracking.places.postgres import HISTORY_VARIABLE, Database

NAME_IT = "name the PostgreSQL database of the history, such as postgresql://USER:PASSWORD@HOST:5432/dagster."


class History(DagsterStorage, ConfigurableClass):
    """Stands for the class that is chosen when Dagster opens the history; what cannot be opened is one sentence."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """There is nothing to set."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        """The history, open."""
        try:
            return open_history(inst_data)
        except UserError as error:  # Dagster would print its stack
            sys.stderr.write(f"{error}\n")
            raise SystemExit(2) from None


class SharedHistory(History):
    """The same for settings that several people share: only PostgreSQL."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        """The history, open."""
        if not os.environ.get(HISTORY_VARIABLE):
            sys.stderr.write(f"{HISTORY_VARIABLE} is not set: {NAME_IT}\n")
            raise SystemExit(2)
        return super().from_config_value(inst_data, config_value)


def open_history(inst_data: ConfigurableClassData | None = None) -> DagsterStorage:
    """The history where the environment says that it is; UserError where it cannot be used."""
    address = os.environ.get(HISTORY_VARIABLE, "")
    if not address:
        return LocalHistory(inst_data)
    database = Database.of(address, HISTORY_VARIABLE)
    from pipelines.history.postgres import PostgresHistory

    return PostgresHistory(database, inst_data)
