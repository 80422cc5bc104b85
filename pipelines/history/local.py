"""The history of runs in `dagster/` in the home, so that two homes do not mix: the default.

The home is RADALIGN_HOME, else `var/` in the checkout.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

from store.home import default_home, expect_writable
from store.locks import holding

FOLDER = "dagster"  # in the home


def history_folder() -> Path:
    """Where the history lies."""
    return default_home() / FOLDER


class WithoutSettings:
    """A part of Dagster whose settings follow from the home."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        raise NotImplementedError

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """There is nothing to set."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """As Dagster makes it."""
        return cls(inst_data)


class LocalHistory(WithoutSettings, DagsterSqliteStorage):
    """The SQLite files of Dagster, which one process at a time opens: two that make them at once disturb each other.

    UserError where the home cannot be written to.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        expect_writable(default_home())
        with holding(history_folder() / "opening", "opens the history of runs"):
            DagsterSqliteStorage.__init__(self, str(history_folder()), inst_data)


class Artifacts(WithoutSettings, LocalArtifactStorage):
    """Files of runs that Dagster keeps for itself."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        LocalArtifactStorage.__init__(self, str(history_folder()), inst_data)


class Logs(WithoutSettings, LocalComputeLogManager):
    """What steps print."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        LocalComputeLogManager.__init__(self, str(history_folder() / "logs"), inst_data=inst_data)
