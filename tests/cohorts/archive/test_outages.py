"""Which errors of a file system are facts about a file, and which end a run."""

from __future__ import annotations

import errno
import os

import pytest

from cohorts.archive.outages import OutageError
from cohorts.archive.paths import DENIED, are_files, file_stamps, files_in
from cohorts.errors import CohortError
from cohorts.rows import files_below
from tests.cohorts.faults import fail


@pytest.fixture
def root(tmp_path):
    for name in ("a/1.png", "a/2.png", "b/3.png", "lost+found/x", ".trash/y", "labels.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ENOENT])
def test_a_folder_that_cannot_be_listed_ends_a_walk_with_its_name(root, monkeypatch, code):
    assert files_below(root, ["*"], [".png"]) == ["a/1.png", "a/2.png", "b/3.png"]
    fail(monkeypatch, os, "scandir", code, root / "b")
    with pytest.raises(CohortError, match=f"{root / 'b'} .*[.]"):
        files_below(root, ["."], [".png"])
    with pytest.raises(CohortError, match=f"{root / 'b'} .*[.]"):
        files_below(root, ["*"], [".png"])


def test_a_locked_folder_says_what_to_do(root, monkeypatch):
    fail(monkeypatch, os, "scandir", errno.EACCES, root / "b")
    with pytest.raises(CohortError) as found:
        list(files_in(root, root))
    assert str(found.value) == (
        f"The folder {root / 'b'} may not be opened (Permission denied), so the images in it would be lost without a "
        "trace: correct its permissions, or move it out of the archive."
    )


def test_folders_of_the_system_are_no_part_of_an_archive(root, monkeypatch):
    fail(monkeypatch, os, "scandir", errno.EACCES, root / "lost+found", root / ".trash")
    assert list(files_in(root, root)) == ["labels.csv", "a/1.png", "a/2.png", "b/3.png"]


def test_a_file_with_the_name_of_a_folder_has_no_files(root):
    assert files_below(root, ["labels*"], [".png"]) == []


def test_a_file_that_may_not_be_opened_is_there(root, monkeypatch):
    before = file_stamps(root, ["a/1.png", "a/2.png", "b/3.png"])
    fail(monkeypatch, os, "stat", errno.EACCES, root / "a/1.png")
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "2.png" not in str(path) and access(path, mode))
    assert file_stamps(root, ["a/1.png", "a/2.png", "b/3.png"]) == [DENIED, DENIED, before[2]]
    assert are_files(root, ["a/1.png", "a/2.png"]).all()


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT])
def test_a_file_system_that_cannot_tell_ends_the_run(root, monkeypatch, code):
    fail(monkeypatch, os, "stat", code, root / "a/1.png")
    with pytest.raises(
        OutageError, match=rf"{root / 'a/1.png'} cannot be read \({os.strerror(code)}\): the disk or the"
    ):
        file_stamps(root, ["b/3.png", "a/1.png"])


@pytest.mark.parametrize("name", ["n" * 300, "labels.csv/x", "none", "a", "nul\0"])
def test_a_name_that_no_file_can_have_is_not_there(root, name):
    assert file_stamps(root, [name]) == [""]
