"""Which errors a user can mend, and what is said of them."""

from __future__ import annotations

import errno
import os
import sqlite3
from importlib import import_module
from pathlib import Path

import pytest

from store.code import ROOMS, ROOT
from store.errors import SettingError, UserError, sentence_of

FAULTS = {"training.state.checkpoint", "training.guards", "imaging.shapes", "cohorts.archive.paths"}  # caught inside


def test_every_error_class_of_a_room_is_one_that_a_user_can_mend():
    """There is no list of them: they derive from one class. Those that never leave their room are named above."""
    found = 0
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            if "Error(" not in path.read_text() or path.name in ("__init__.py", "__main__.py") or name in FAULTS:
                continue
            for kind in vars(import_module(name)).values():
                if isinstance(kind, type) and issubclass(kind, Exception) and kind.__module__ == name:
                    assert issubclass(kind, UserError | OSError), f"{name}.{kind.__name__}"
                    found += 1
    assert found >= 12


def test_the_sentence_of_a_mistake_is_its_own():
    assert sentence_of(SettingError("`epochs` is 0.")) == "`epochs` is 0."
    assert sentence_of(FileNotFoundError(errno.ENOENT, "No such file or directory", "/a")) == (
        "/a cannot be used: No such file or directory."
    )


def test_a_fault_of_ours_has_none():
    for fault in (ValueError("shapes (2,) and (3,)"), KeyError("text"), OSError("unexpected end"), RuntimeError("x")):
        assert sentence_of(fault) is None


def full_device() -> Exception:
    try:
        with Path("/dev/full").open("wb") as file:
            file.write(b"x" * 100_000)
    except OSError as error:
        return error
    raise AssertionError("/dev/full took it")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_told_whoever_reports_it():
    chained = RuntimeError("the run cannot be logged")
    chained.__cause__ = sqlite3.OperationalError("database or disk is full")
    for error in (
        full_device(),
        chained,
        OSError("[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device"),
        OSError(errno.EFBIG, "File too large", "/home/x.parquet"),
    ):
        assert "There is no room left to write" in (sentence_of(error) or "")
        assert "make room" in (sentence_of(error) or "")
    assert "/home/x.parquet" in (sentence_of(error) or "")


def test_a_read_only_home_is_told():
    for error in (
        OSError(errno.EROFS, "Read-only file system", "/home/x"),
        sqlite3.OperationalError("attempt to write a readonly database"),
    ):
        assert "RADALIGN_HOME" in (sentence_of(error) or "")
