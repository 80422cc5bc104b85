"""Holds the files of an archive against what a listing said of them.

What is made from a file is stored under a fingerprint of the size and time that the listing found, so it must be made
from exactly this file. A file that the listing found and that is gone, closed or another one by now ends the run. The
same command goes on: it lists the archive anew.
"""

from __future__ import annotations

import os
from pathlib import Path

from cohorts.archive import remote
from cohorts.archive.outages import OutageError
from cohorts.archive.paths import DENIED, file_stamp, file_stamps


def expect_listed(root: Path, relative: str, stamp: str) -> None:
    """OutageError unless the file still has the stamp of its listing."""
    if remote.is_remote(root):
        same = remote.has_stamp(root, relative, stamp)
    else:
        same = file_stamp(f"{root}/{relative}") == stamp
    if not same:
        raise explain_loss(root, relative)


def explain_loss(root: Path, relative: str = "", stamp: str | None = None) -> OutageError:
    """What to raise where a file, or what the tables say, is not what it was when the archive was listed."""
    if is_gone(root):
        return OutageError(
            f"The archive {root} was there when it was listed and is gone: mount it or put it back, and give the same "
            "command again."
        )
    if not relative:
        return OutageError(f"The archive {root} was changed while it was read: give the same command again.")
    (now,) = file_stamps(root, [relative])
    if not now:
        became = "is gone"
    elif now == DENIED:
        became = "may not be opened any more"
    else:
        became = "could not be read" if now == stamp else "was changed"
    return OutageError(
        f"{relative} in {root} {became} after the archive was listed: when the archive is whole again, give the same "
        "command again."
    )


def is_gone(root: Path) -> bool:
    """Whether a root is no folder any more or an empty one, as a mount point is when nothing is mounted."""
    if remote.is_remote(root):
        return False
    try:
        with os.scandir(root) as entries:
            return next(entries, None) is None
    except OSError:
        return True


def identify(root: Path) -> tuple[int, int] | None:
    """Device and inode of a root, which are others while nothing is mounted; None where there is no folder."""
    if remote.is_remote(root):
        return None
    try:
        found = os.stat(root)
    except OSError:
        return None
    return found.st_dev, found.st_ino
