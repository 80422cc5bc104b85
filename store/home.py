"""Where everything that is computed lies, unless somebody says otherwise."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import TemporaryFile

from store.code import ROOT
from store.errors import UserError
from store.remote import mirror

VARIABLE = "RADALIGN_HOME"
GIGA = 1e9


def is_checkout() -> bool:
    """Whether the project runs from its checkout, not from an installed package."""
    return (ROOT / "pyproject.toml").is_file()


def base_folder() -> Path:
    """Where relative paths count from: the checkout, or the working folder of an installed package."""
    return ROOT if is_checkout() else Path.cwd()


def based(path: str | Path) -> Path:
    """An absolute path; a relative one counts from `base_folder`."""
    return base_folder() / path


def default_home() -> Path:
    """RADALIGN_HOME, else `var`; of a home on object storage its mirror."""
    return home_at(os.environ.get(VARIABLE) or "var")


def home_at(location: str) -> Path:
    """The folder of a home: an absolute path, or the mirror of an address such as s3://bucket/prefix.

    Nothing is fetched: `store.remote.mirror.refresh` does, and says what is wrong with the address or the store.
    """
    return mirror.mirror_of(location) if mirror.is_address(location) else based(location)


def existing_part(folder: Path) -> Path:
    """The folder itself or, where it is not there yet, the nearest folder above it that is."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def is_writable(folder: Path) -> bool:
    """Whether a file can be made in the folder; permissions alone do not tell, for the root user least of all."""
    try:
        with TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def expect_writable(home: Path) -> None:
    """Raise UserError where no file can be made in the home."""
    there = existing_part(home)
    if not there.is_dir():
        raise UserError(f"The home {home} cannot be made, because {there} is a file: set RADALIGN_HOME to a folder.")
    if not is_writable(there):
        raise UserError(f"The home {home} cannot be written to: set RADALIGN_HOME to a folder of your own.")


def expect_room(home: Path, needed: float, what: str) -> None:
    """Raise UserError where the disk of the home has fewer bytes free than `what` surely takes."""
    free = shutil.disk_usage(existing_part(home)).free
    if free < needed:
        raise UserError(
            f"The disk of the home {home} has {free / GIGA:.1f} GB free, and {what} takes "
            f"{needed / GIGA:.1f} GB or more: make room, or set {VARIABLE} to another disk."
        )
