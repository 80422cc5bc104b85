"""Image files and masks held against what a listing said of them, see `cohorts.archive.listed`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cohorts.archive import remote
from cohorts.archive.listed import expect_listed, explain_loss, is_gone
from cohorts.archive.paths import DENIED, OutsideRootError, inside
from imaging.errors import ImageError

NOT_OPENED = ("missing_file", "unreadable_file")

Read = TypeVar("Read")


def read_listed(
    root: Path, relative: str, stamp: str | None, read: Callable[[Path], Read | ImageError]
) -> Read | ImageError:
    """What `read` makes of an image file with the stamp that the listing gave it, or why there is nothing to read.

    OutageError where the file is not what it was then. Without a stamp the file is taken as it is.
    """
    try:
        file = inside(root, relative)
    except OutsideRootError as error:
        return ImageError("path_outside_root", str(error))
    if stamp in ("", DENIED):
        return ImageError("unreadable_file" if stamp else "missing_file")
    with remote.local_copy(file) as path:
        found = read(path)
    lost = isinstance(found, ImageError) and found.reason in NOT_OPENED
    if lost and (stamp or is_gone(root)):
        raise explain_loss(root, relative, stamp)
    if stamp:
        expect_listed(root, relative, stamp)
    return found
