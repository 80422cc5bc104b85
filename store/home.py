"""Where everything that is computed lies, unless somebody says otherwise."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryFile

from store.code import ROOT

VARIABLE = "RADALIGN_HOME"


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
    """RADALIGN_HOME, else `var`."""
    return based(os.environ.get(VARIABLE) or "var")


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
