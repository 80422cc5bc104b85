"""An export is there whole or not at all, and nothing else is overwritten."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from radalign.errors import RadalignError
from radalign.exporting.folders import MARK, replacing_folder


def write(folder: Path, text: str) -> None:
    with replacing_folder(folder) as partial:
        (partial / MARK).write_text(text)
        (partial / "inner").mkdir()
        (partial / "inner" / "file").write_text(text)


def write_half(folder: Path) -> None:
    with replacing_folder(folder) as partial:
        (partial / MARK).write_text("half")
        raise ZeroDivisionError


def test_an_export_is_replaced_by_the_next(tmp_path):
    folder = tmp_path / "deep" / "out"
    for text in ("one", "two"):
        write(folder, text)
        assert (folder / "inner" / "file").read_text() == text
        assert [path.name for path in folder.parent.iterdir()] == ["out"]


def test_a_failed_export_leaves_what_was_there(tmp_path):
    folder = tmp_path / "out"
    write(folder, "one")
    with pytest.raises(ZeroDivisionError):
        write_half(folder)
    assert (folder / MARK).read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_killed_export_leaves_what_was_there(tmp_path):
    folder = tmp_path / "out"
    write(folder, "one")
    code = (
        "import os, pathlib, signal, sys\n"
        "from radalign.exporting.folders import replacing_folder\n"
        "with replacing_folder(pathlib.Path(sys.argv[1])) as partial:\n"
        "    (partial / 'export.json').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder], check=False, cwd=Path(__file__).parents[3], env=os.environ
    )
    assert done.returncode == -signal.SIGKILL
    assert (folder / MARK).read_text() == "one"
    write(folder, "two")
    assert (folder / MARK).read_text() == "two"


def test_what_is_no_export_is_left_as_it_is(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for place, message in ((tmp_path, "holds something that is no export"), (tmp_path / "notes.txt", "is no folder")):
        with pytest.raises(RadalignError, match=message), replacing_folder(place):
            raise AssertionError("the block must not run")
    assert (tmp_path / "notes.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty", "one")
    assert (tmp_path / "empty" / MARK).read_text() == "one"
