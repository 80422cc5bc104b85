"""Tells what is wrong with one file of an archive from what is wrong with the disk or the network below it.

A file that is not there, or that nobody may open, is a fact about the file: its images become rejects. Everything else
that a file system reports is an outage. It ends the run, and no image is rejected because of it.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from cohorts.errors import CohortError

# ENOTDIR, ELOOP, ENAMETOOLONG, EINVAL: no file can lie at such a path.
ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL})
DENIED = frozenset({errno.EACCES, errno.EPERM})
SYSTEM_FOLDERS = ("lost+found",)  # beside those that begin with a dot; only the administrator may read them


class OutageError(CohortError):
    """The archive, or a file that was in it, cannot be reached, so this run keeps nothing of it."""


def outage(path: Path | str, error: OSError) -> OutageError:
    """What to raise for an error that is no fact about the file."""
    return OutageError(
        f"{path} cannot be read ({error.strerror or type(error).__name__}): the disk or the network below the archive "
        "has failed; give the same command again when it is back."
    )


def explain_folder(error: OSError, folder: Path | str) -> CohortError:
    """What to raise for a folder that cannot be listed."""
    if error.errno in DENIED:
        return CohortError(
            f"The folder {folder} may not be opened ({error.strerror}), so the images in it would be lost without a "
            "trace: correct its permissions, or move it out of the archive."
        )
    return outage(folder, error)


def is_ignored(folder: Path | str) -> bool:
    """Whether a folder that cannot be listed is no part of an archive."""
    name = os.path.basename(folder)
    return name.startswith(".") or name in SYSTEM_FOLDERS
