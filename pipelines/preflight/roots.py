"""The archives that a run reads are there, and the variables that name them are spelt as Radalign reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cohorts.errors import CohortError
from cohorts.registry import cohort_names, how_to_get
from ingestion.workspace import Workspace
from store.errors import nearest
from store.locks import HELD
from store.presets import VARIABLE as PRESET
from store.remote.mirror import KNOWN
from store.remote.mirror import VARIABLE as MIRROR
from tracking.places import ARTIFACTS_VARIABLE
from tracking.places import VARIABLE as MLFLOW
from tracking.places.postgres import ANSWERED, HISTORY_VARIABLE
from training.errors import PARENT

PREFIX = "RADALIGN_"
VARIABLES = (
    *("RADALIGN_HOME", "RADALIGN_COHORT", "RADALIGN_SILENT_MINUTES", "RADALIGN_SHARED", "RADALIGN_RELEASED"),
    *("RADALIGN_GOLDEN", "RADALIGN_MONITOR", "RADALIGN_CHECK_SECONDS", "RADALIGN_HEARTBEAT_SECONDS"),
    *("RADALIGN_CACHE_BYTES", "RADALIGN_FETCH_BYTES"),
    *(HISTORY_VARIABLE, MLFLOW, ARTIFACTS_VARIABLE, ANSWERED, "RADALIGN_LISTEN"),
    *("RADALIGN_DAGSTER_PORT", "RADALIGN_MLFLOW_PORT", PRESET, HELD, PARENT, MIRROR, KNOWN, "RADALIGN_LEASE_SECONDS"),
)


def misspelt_variables() -> Iterator[str]:
    """A sentence for each variable that begins like ours and is none."""
    known = [*VARIABLES, *map(root_variable, cohort_names())]
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            guess = nearest(name, known)
            yield f"{name} is no variable of Radalign and is not read" + (f"; did you mean {guess}?" if guess else ".")


def root_variable(cohort: str) -> str:
    """The variable that names the archive of a dataset."""
    return f"{PREFIX}{cohort.upper()}_ROOT"


def expect_root(workspace: Workspace) -> None:
    """Raise CohortError where the archive of a dataset is not named, or no folder that can be listed."""
    root, name = workspace.root(), workspace.cohort_name()
    if not isinstance(root, Path):
        return  # object storage: the first request tells
    named = f"The field archive_root names {root}" if workspace.archive_root else f"{root_variable(name)} is {root}"
    if not root.is_dir():
        raise CohortError(f"{named}, which is no folder; {how_to_get(name)}")
    if not os.access(root, os.R_OK | os.X_OK):
        raise CohortError(f"{named}, which may not be read: correct the permissions of the folder.")
