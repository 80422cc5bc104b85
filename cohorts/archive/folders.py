"""Looking into the folders of an archive. What may not be looked at is said: it does not count as absent."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from cohorts.archive.outages import ABSENT, explain_folder, is_ignored
from cohorts.archive.remote import is_remote, storage_errors


def is_file(path: Path) -> bool:
    """Whether a regular file has this name; CohortError where the system does not let anybody look."""
    if is_remote(path):
        with storage_errors(path):
            return path.is_file()
    return stat.S_ISREG(_mode(path))


def is_folder(path: Path) -> bool:
    """Whether a folder has this name; CohortError where the system does not let anybody look."""
    if is_remote(path):
        with storage_errors(path):
            return path.is_dir()
    return stat.S_ISDIR(_mode(path))


def matches(folder: Path, pattern: str) -> list[Path]:
    """What matches a pattern of names, such as `images_0*/images`, sorted; CohortError where a folder cannot be listed.

    `*`, `?` and `[...]` have their usual meaning in the pattern, and none in the name of `folder`.
    """
    if is_remote(folder):
        with storage_errors(folder):
            return sorted(folder.glob(pattern))
    found = [folder]
    for part in PurePosixPath(pattern).parts:
        found = [parent / name for parent in found for name in _names(parent) if fnmatchcase(name, part)]
    return found


def _mode(path: Path) -> int:
    """Kind and rights of what has this name, links followed; 0 where nothing has it."""
    try:
        return os.stat(path).st_mode
    except ValueError:  # a null byte, which no file name has
        return 0
    except OSError as error:
        if error.errno in ABSENT:
            return 0
        raise explain_folder(error, path.parent) from error


def _names(folder: Path) -> Sequence[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        if error.errno in ABSENT or is_ignored(folder):
            return ()
        raise explain_folder(error, folder) from error
