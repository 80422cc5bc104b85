"""Which errors a user can mend, and what is said of them."""

from __future__ import annotations

import ast
import errno
import os
import sqlite3
from pathlib import Path

import pytest

from store.code import ROOMS, ROOT
from store.errors import SettingError, sentence_of

# These never leave their room.
CAUGHT_INSIDE = {
    *("StoppedError", "ShapeError", "OutsideRootError", "HeaderError"),
    *("LaunchedTrainingError", "PeerLostError"),
}
NO_FAULT = {"Exception", "BaseException", "ValueError", "RuntimeError", "KeyError", "TypeError"}


def test_every_error_class_of_a_room_is_one_that_a_user_can_mend():
    """There is no list of them: they derive from one class."""
    found = {}
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef) and node.name.endswith("Error") and node.name[0] != "_":
                    found[node.name] = {ast.unparse(base) for base in node.bases}
    assert len(found) >= 15
    for name in found.keys() - CAUGHT_INSIDE - {"UserError"}:
        assert found[name] - NO_FAULT, f"{name} derives from none of our errors"


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
