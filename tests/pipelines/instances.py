"""Dagster's history of runs, as a command found it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest


@contextlib.contextmanager
def history(folder: Path, home: Path) -> Iterator[dg.DagsterInstance]:
    """The history in a home, with the `dagster.yaml` in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RADALIGN_HOME", str(home))
        with dg.DagsterInstance.from_config(str(folder)) as instance:
            yield instance
