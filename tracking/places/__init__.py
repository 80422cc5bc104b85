"""Where MLflow keeps its records: `mlflow.db` in the home, or the database or server that RADALIGN_MLFLOW names."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from store.errors import SettingError
from tracking.errors import TrackingError
from tracking.places.postgres import SCHEMES, Database

VARIABLE = "RADALIGN_MLFLOW"
ARTIFACTS_VARIABLE = "RADALIGN_MLFLOW_ARTIFACTS"  # a folder or s3://bucket/prefix, beside a database
PORT_VARIABLE, PORT = "RADALIGN_MLFLOW_PORT", 5000  # of `make ui`
ARTIFACTS = "mlartifacts"  # in the home


class Place(Protocol):
    """A store of MLflow. In a sentence it is called `str(place)`, which holds no password."""

    shared: bool  # other homes may record there too
    patience: float  # seconds to wait at the end of a training for a store that is away

    def exists(self) -> bool:
        """Whether anything may have been recorded there; costs no import of MLflow."""

    def expect(self) -> None:
        """Raise TrackingError where the place is not what the variable says; costs no import of MLflow."""

    def uri(self) -> str:
        """The address for MLflow, with the password."""

    def artifacts(self) -> str | None:
        """Where files of runs go; None where the server decides."""

    def opening(self, warn: Callable[[str], object]) -> AbstractContextManager[object]:
        """In here the store is opened, and its tables are made where they are missing: by one process at a time."""

    def explain(self, error: Exception) -> TrackingError | None:
        """What an error of MLflow means; None where this place does not know."""


def place_of(home: Path) -> Place:
    """The place of a home's records; TrackingError for an address that cannot be one."""
    address = os.environ.get(VARIABLE, "").strip()
    if not address:
        from tracking.places.local import LocalPlace

        return LocalPlace(home)
    if is_server(address):
        from tracking.places.server import ServerPlace

        return ServerPlace.of(address, VARIABLE)
    if address.partition("://")[0] not in SCHEMES:
        raise TrackingError(
            f"{VARIABLE} is neither the address of an MLflow server, such as http://HOST:5000, nor of a PostgreSQL "
            "database, such as postgresql://USER:PASSWORD@HOST:5432/mlflow."
        )
    from tracking.places.database import DatabasePlace

    try:
        database = Database.of(address, VARIABLE)
    except SettingError as error:
        raise TrackingError(str(error)) from None
    return DatabasePlace(database, os.environ.get(ARTIFACTS_VARIABLE) or (home / ARTIFACTS).resolve().as_uri())


def is_server(address: str) -> bool:
    """Whether an address is that of a server of MLflow."""
    return address.startswith(("http://", "https://"))


def pages_address() -> str:
    """Where the pages of MLflow are, for links: the server, or where `make ui` opens it."""
    address = os.environ.get(VARIABLE, "").strip()
    return address.rstrip("/") if is_server(address) else f"http://127.0.0.1:{os.environ.get(PORT_VARIABLE) or PORT}"
