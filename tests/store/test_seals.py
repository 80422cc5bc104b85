"""Seals tell every change of a file, and a killed writer leaves a file that counts as not written."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from store import seals
from store.digests import known_digest
from store.errors import DamageError
from store.seals import (
    expect_intact,
    is_intact,
    is_sealed,
    seal,
    seal_path,
    sealed_digest,
    sealing,
    set_aside,
    unlink,
    write_sealed_json,
)

REMEDY = "make it again."


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "table.parquet"
    with sealing(path) as partial:
        partial.write_bytes(b"0123456789" * 100)
    return path


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)


def flip_and_keep_times(path: Path) -> None:
    before = path.stat()
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_and_keep_times(path: Path) -> None:
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(path.read_bytes()[::-1])
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)


DAMAGES = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "emptied": lambda path: path.write_bytes(b""),
    "deleted": Path.unlink,
    "one bit": flip,
    "one bit, times kept": flip_and_keep_times,
    "replaced, times kept": replace_and_keep_times,
    "without its seal": lambda path: seal_path(path).unlink(),
    "with a damaged seal": lambda path: seal_path(path).write_bytes(b"\xff\xfe"),
    "with the seal of another file": lambda path: seal_path(path).write_text(f"{'0' * 64}  other\n"),
}


def test_an_untouched_file_is_intact_and_sha256sum_agrees(file: Path) -> None:
    assert is_intact(file)
    assert expect_intact(file, REMEDY) == file
    subprocess.run(["sha256sum", "--check", "--status", seal_path(file).name], cwd=file.parent, check=True)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_no_change_is_taken_for_what_was_written(file: Path, damage: Callable[[Path], object]) -> None:
    expect_intact(file, REMEDY)  # the digest of the good file is known to the process
    damage(file)
    assert not is_intact(file)
    with pytest.raises(DamageError, match=REMEDY):
        expect_intact(file, REMEDY)
    assert not is_intact(file)


def test_damage_that_no_time_shows_is_found_when_the_file_is_read(file: Path) -> None:
    flip(file)
    time.sleep(0.02)
    os.utime(seal_path(file))  # as if the disk had changed the bit
    assert is_intact(file)
    with pytest.raises(DamageError, match=r"table\.parquet\.damaged"):
        expect_intact(file, REMEDY)
    assert not file.exists()
    assert file.with_name("table.parquet.damaged").exists()
    assert not is_intact(file)


def test_a_copy_of_a_folder_is_intact_in_whatever_order_its_files_are_copied(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy" / file.name
    copy.parent.mkdir()
    shutil.copy(seal_path(file), seal_path(copy))
    shutil.copy(file, copy)
    time.sleep(0.02)
    assert is_intact(copy)
    assert copy.stat().st_ctime_ns < seal_path(copy).stat().st_ctime_ns  # it was read once


def test_a_copy_that_may_only_be_read_is_intact(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is read-only, or a home of somebody else."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    file.touch()
    monkeypatch.setattr(os, "utime", refuse)
    assert is_intact(file)
    flip(file)
    assert not is_intact(file)


def test_a_writer_that_fails_leaves_the_old_file_and_its_seal(file: Path) -> None:
    def fail() -> None:
        with sealing(file) as partial:
            partial.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert is_intact(file)
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name, seal_path(file).name]


@pytest.mark.parametrize("step", range(4))
def test_a_writer_that_dies_at_any_step_leaves_the_old_file_or_the_new_one(
    file: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Seal, file and seal are renamed in this order; at step 3 all is done."""
    old, renames = file.read_bytes(), []
    rename = os.replace

    def die(source: Path, target: Path) -> None:
        if len(renames) == step:
            raise SystemExit
        renames.append(target)
        rename(source, target)

    monkeypatch.setattr("store.atomic.os.replace", die)
    with contextlib.suppress(SystemExit), sealing(file) as partial:
        partial.write_bytes(b"new")
    monkeypatch.undo()
    assert len(renames) == min(step, 3)
    assert file.read_bytes() == (old if step < 2 else b"new")
    assert is_intact(file)
    assert sealed_digest(file) == known_digest(expect_intact(file, REMEDY))


def test_a_new_file_whose_writer_dies_counts_as_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new"
    seal_path(path).write_text(f"{'0' * 64}  new\n")
    assert not is_intact(path)
    path.write_bytes(b"without a seal")
    seal_path(path).unlink()
    assert not is_intact(path)
    assert not is_sealed(path)


def test_json_is_sealed_too(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_sealed_json(path, {"a": 1})
    write_sealed_json(path, {"a": 2})
    assert is_intact(path)
    path.write_text(path.read_text().replace("2", "3"))
    assert not is_intact(path)


def test_sealing_again_and_removing(file: Path) -> None:
    flip(file)
    digest = seal(file)
    assert sealed_digest(file) == digest
    assert is_intact(file)
    set_aside(file)
    set_aside(file)  # what is not there stays not there
    unlink(file)
    assert [path.name for path in file.parent.iterdir()] == [f"{file.name}.damaged"]


@pytest.mark.parametrize("damage", [flip_and_keep_times, Path.unlink], ids=["one bit", "deleted"])
def test_a_seal_covers_companions(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    path, companion = tmp_path / "a", tmp_path / "b"
    for each in (path, companion):
        each.write_bytes(bytes(1000))
    seal(path, companion)
    assert is_intact(path)
    damage(companion)
    assert not is_intact(path)
    with pytest.raises(DamageError, match="/b "):
        expect_intact(path, REMEDY)
    assert path.exists()
    assert not is_intact(path)


def test_the_target_of_a_link_is_set_aside(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "version" / file.name
    link.parent.mkdir()
    for each in (file, seal_path(file)):
        (link.parent / each.name).symlink_to(each)
    assert is_intact(link)
    flip(file)
    with pytest.raises(DamageError):
        expect_intact(link, REMEDY)
    assert file.with_name(f"{file.name}.damaged").exists()
    assert not is_intact(file)


@pytest.mark.parametrize("ask", [is_intact, lambda path: expect_intact(path, "write it again.") == path])
def test_a_file_that_is_replaced_while_it_is_checked_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Path], bool]
) -> None:
    path = tmp_path / "a.json"
    write_sealed_json(path, {"number": 1})
    read_seal = seals._read_seal

    def read_and_be_overtaken(path: Path) -> seals.Digests:
        found = read_seal(path)
        monkeypatch.setattr(seals, "_read_seal", read_seal)
        write_sealed_json(path, {"number": 2})
        return found

    monkeypatch.setattr(seals, "_read_seal", read_and_be_overtaken)
    assert ask(path)
    assert json.loads(path.read_text()) == {"number": 2}
