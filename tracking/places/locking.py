"""The lock of a home's records."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = "mlflow.lock"


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """What is done in here is done by one process at a time."""
    path = home / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
