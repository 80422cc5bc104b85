"""What may not be looked at is said, and names of folders are no patterns."""

from __future__ import annotations

import errno
import os

import pytest
from upath import UPath

from cohorts.archive.folders import is_file, is_folder, matches
from cohorts.archive.mimic_layout import release_folders
from cohorts.base import require_folder
from cohorts.errors import CohortError


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "archive [1]*"
    for name in ("a1/x.csv", "a2/x.csv", "a[1]/x.csv", "b/x.csv"):
        (root / name).parent.mkdir(parents=True)
        (root / name).touch()
    (root / "a3").touch()
    (root / "loop").symlink_to(root / "loop")
    return root


def refuse(monkeypatch, function, path, code=errno.EACCES):
    """Let a function of `os` fail for one path, as it does for users who are not the administrator."""
    real = getattr(os, function)

    def fail(given, *arguments, **options):
        if os.fspath(given) == str(path):
            raise OSError(code, os.strerror(code), str(path))
        return real(given, *arguments, **options)

    monkeypatch.setattr(os, function, fail)


def test_patterns(root):
    assert [path.relative_to(root).as_posix() for path in matches(root, "a*/x.csv")] == [
        "a1/x.csv",
        "a2/x.csv",
        "a[1]/x.csv",
    ]
    assert matches(root, "a[[]1]/*") == [root / "a[1]" / "x.csv"]
    assert matches(root / "absent", "*") == matches(root / "a3", "*") == matches(root / "loop", "*") == []


def test_patterns_on_object_storage(root):
    there = UPath(f"memory:///{root.parent.name}")
    (there / "a1" / "x.csv").touch()
    (there / "b" / "x.csv").touch()
    assert [path.path for path in matches(there, "a*/x.csv")] == [f"{there.path}/a1/x.csv"]
    assert is_file(there / "a1" / "x.csv")
    assert is_folder(there / "a1")
    there.fs.rm(there.path, recursive=True)


def test_what_a_name_stands_for(root):
    assert is_file(root / "a3")
    assert not is_file(root / "a1")
    assert is_folder(root / "a1")
    for name in ("loop", "absent", "a3/x", "x" * 300, "nul\0"):
        assert not is_file(root / name)
        assert not is_folder(root / name)


def test_a_folder_that_may_not_be_opened_is_not_absent(root, monkeypatch):
    refuse(monkeypatch, "listdir", root / "a2")
    with pytest.raises(CohortError, match=r"The folder .*a2 may not be opened \(Permission denied\)"):
        matches(root, "a*/x.csv")
    assert matches(root, "b/x.csv")
    (root / ".cache").mkdir()
    refuse(monkeypatch, "listdir", root / ".cache")
    assert len(matches(root, "[!a]*/x.csv")) == 1


def test_a_name_that_may_not_be_looked_up_is_not_absent(root, monkeypatch):
    refuse(monkeypatch, "stat", root / "b" / "x.csv")
    for look in (is_file, is_folder):
        with pytest.raises(CohortError, match=r"The folder .*/b may not be opened"):
            look(root / "b" / "x.csv")
    refuse(monkeypatch, "stat", root, errno.EIO)
    with pytest.raises(CohortError, match="the disk or the network below the archive has failed"):
        require_folder(root, "RADALIGN_X_ROOT", "set it.")


def test_a_release_that_may_not_be_opened_is_said(root, monkeypatch):
    (root / "mimic-cxr-jpg" / "2.1.0").mkdir(parents=True)
    assert release_folders(root) == [root, root / "mimic-cxr-jpg", root / "mimic-cxr-jpg" / "2.1.0"]
    refuse(monkeypatch, "listdir", root / "mimic-cxr-jpg")
    with pytest.raises(CohortError, match="mimic-cxr-jpg may not be opened"):
        release_folders(root)


def test_a_root_that_is_no_utf_8_is_refused_in_text_that_can_be_printed(tmp_path):
    root = tmp_path / os.fsdecode(b"a\xff\nb")
    root.mkdir()
    with pytest.raises(CohortError, match=r"a\\xff\\nb, whose name is no UTF-8; rename it") as caught:
        require_folder(root, "RADALIGN_X_ROOT", "set it.")
    str(caught.value).encode()
