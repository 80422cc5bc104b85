"""Which manifest names a file of a home. A scope is a folder whose files are published and fetched together.

Batches have no manifest: each is an entry of its own (`store.remote.protocol.entries`). Logs, locks, databases and what
was not written to its end are of one machine and are not published at all.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

HOME = "home"  # the scope of files that lie in no folder
LOCAL_FOLDERS = frozenset({".remote", "dagster", "logs", "mlartifacts"})
LOCAL_NAMES = re.compile(r".*\.(partial|damaged|lock)|\..*|lock|alive|listing|failure\.txt|mlflow\.db.*")
VERSIONS, CHECKPOINTS, RUNS, PREDICTIONS = "versions", "checkpoints", "runs", "predictions"
BATCH = re.compile(r"([0-9a-f]{20})(\.rejects)?\.parquet(\.sha256)?")
ARCHIVE = "archive"  # a simulated archive, which is published as one file
SEAL = ".sha256"


def is_local(relative: str) -> bool:
    """Whether a path, relative to the home, is of this machine alone."""
    parts = PurePosixPath(relative).parts
    return not parts or parts[0] in LOCAL_FOLDERS or any(map(LOCAL_NAMES.fullmatch, parts)) or _in_archive(parts)


def is_batch(relative: str) -> bool:
    """Whether a path is that of a batch of a stage, of its rejects or of its seal: `<dataset>/<stage>/<name>`."""
    parts = PurePosixPath(relative).parts
    return len(parts) == 3 and parts[0] not in (CHECKPOINTS, RUNS) and bool(BATCH.fullmatch(parts[2]))


def fingerprint_of(name: str) -> str:
    """Of the batch that a file of this name belongs to."""
    match = BATCH.fullmatch(name)
    assert match is not None
    return match[1]


def scope_of(relative: str) -> str:
    """The scope of a file, which is also the folder that all of its files are in, or HOME."""
    parts = PurePosixPath(relative).parts
    if len(parts) < 2:
        return HOME
    if parts[0] == RUNS or (parts[1] == VERSIONS and len(parts) > 3):
        return "/".join(parts[: 2 if parts[0] == RUNS else 3])
    if parts[0] == CHECKPOINTS and len(parts) > 3 and parts[2] != RUNS:
        return "/".join(parts[: 4 if parts[3] == PREDICTIONS and len(parts) > 4 else 3])
    return parts[0]


def is_name_in(scope: str, name: str) -> bool:
    """Whether a manifest of a scope may name a file so: below its folder, or in none, and nowhere else."""
    parts = name.split("/")
    inside = name.startswith(f"{scope}/") or (scope == HOME and len(parts) == 1)
    return inside and parts[0] not in LOCAL_FOLDERS and not {"", ".", ".."} & {*parts}


def is_fetched_at_once(scope: str) -> bool:
    """Whether a process brings the small files of a scope into the mirror when it begins, not when one is wanted.

    These are the tables, the results, and the folders of trainings without predictions.
    """
    return "/" not in scope or (scope.startswith(f"{CHECKPOINTS}/") and scope.count("/") == 2)


def _in_archive(parts: tuple[str, ...]) -> bool:
    """Whether a file belongs to a simulated archive; the dataset `archive` has its stages below that name."""
    return len(parts) > 2 and parts[1] == ARCHIVE
