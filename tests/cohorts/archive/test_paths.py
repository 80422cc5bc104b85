"""No path of a table leads out of the archive."""

from __future__ import annotations

import pytest

from cohorts.archive.paths import OutsideRootError, are_files, inside


@pytest.fixture
def root(tmp_path):
    (tmp_path / "archive" / "files").mkdir(parents=True)
    (tmp_path / "archive" / "files" / "image.jpg").touch()
    (tmp_path / "archive-of-another").mkdir()
    (tmp_path / "archive-of-another" / "image.jpg").touch()
    return tmp_path / "archive"


def test_paths_inside(root):
    assert inside(root, "files/image.jpg") == root.resolve() / "files" / "image.jpg"
    assert inside(root, "files/absent.jpg").name == "absent.jpg"
    (root / "link.jpg").symlink_to(root / "files" / "image.jpg")
    assert inside(root, "link.jpg").is_file()


def test_root_may_itself_be_a_link(root):
    (root.parent / "link").symlink_to(root)
    assert inside(root.parent / "link", "files/image.jpg").is_file()


@pytest.mark.parametrize(
    "path", ["", ".", "/etc/passwd", "../archive-of-another/image.jpg", "files/../../x", "a\\..\\b", "a\0b"]
)
def test_paths_outside(root, path):
    with pytest.raises(OutsideRootError):
        inside(root, path)


def test_links_outside(root):
    (root / "other").symlink_to(root.parent / "archive-of-another")
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(OutsideRootError):
        inside(root, "other/image.jpg")


def test_which_files_there_are(root):
    paths = ["files/image.jpg", "files", "files/absent.jpg"] * 3000
    assert are_files(root, paths).tolist() == [True, False, False] * 3000
    assert are_files(root, []).tolist() == []
