"""Folders appear whole or not at all: written beside their name, then exchanged with what stood there."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from radalign.errors import RadalignError
from store.atomic import PARTIAL

MARK = "export.json"  # in every folder that was exported
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder`, which takes its place only when the block ends well.

    A killed process leaves the old folder or the new one, and perhaps a stray `*.partial`.

    Raises:
        RadalignError: there is something in `folder` that is no export.
    """
    expect_replaceable(folder)
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f"{folder.name}.{os.getpid()}{PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        _flush(partial)
        if folder.exists():
            _exchange(partial, folder)
        else:
            os.rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def expect_replaceable(folder: Path) -> None:
    """Raise RadalignError where something lies in `folder` that `radalign export` did not write."""
    if folder.is_symlink() or folder.is_file():
        raise RadalignError(f"{folder} is no folder; name another one for the export.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise RadalignError(f"{folder} holds something that is no export, and is left as it is: name another folder.")


def _flush(folder: Path) -> None:
    """Bring all files to the disk, so that a power cut behind the rename leaves none of them empty."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _exchange(new: Path, old: Path) -> None:
    """Give two folders each other's names, at once where the system can do that."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is not None:
        code = rename(AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(old), RENAME_EXCHANGE)
        if code == 0:
            return
    aside = old.with_name(f"{new.name}.old")
    os.rename(old, aside)
    os.rename(new, old)
    os.rename(aside, new)
