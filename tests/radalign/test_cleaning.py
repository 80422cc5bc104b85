"""`radalign clean` removes what no run needs, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cohorts.phantom.archive import simulate
from cohorts.phantom.config import PhantomConfig
from ingestion.pipeline import IngestionSettings, update
from ingestion.stages.images import ImagesSettings
from ingestion.versions import at_version, living, pin, writing
from ingestion.workspace import Workspace
from radalign.command import main
from radalign.command.cleaning import clean
from shards.reader import ShardReader
from store import batches

SIZES = (32, 40, 48)


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, list[dict[str, str]]]:
    """A home after three ingestions, and what each made; the last one counts."""
    folder = tmp_path_factory.mktemp("ingested")
    simulate(folder / "archive", PhantomConfig(studies=12, height=64))
    home = Workspace(home=str(folder / "home"), cohort="phantom", archive_root=str(folder / "archive"))
    settings = [IngestionSettings(images=ImagesSettings(size=size)) for size in SIZES]
    return home, [update(home, one, progress=False) for one in settings]


@pytest.fixture
def home(ingested: tuple[Workspace, list[dict[str, str]]], tmp_path: Path) -> Workspace:
    """A copy for one test."""
    shutil.copytree(ingested[0].home, tmp_path / "home", symlinks=True)
    return replace(ingested[0], home=str(tmp_path / "home"))


@pytest.fixture
def states(ingested: tuple[Workspace, list[dict[str, str]]]) -> list[dict[str, str]]:
    return ingested[1]


def files(home: Workspace) -> dict[str, int]:
    return {str(path): path.lstat().st_size for path in home.home_path().rglob("*") if not path.is_dir()}


def is_readable(home: Workspace, state: dict[str, str]) -> bool:
    try:
        kept = at_version(home, state["version"])
    except Exception:
        return False
    ShardReader(kept.folder("shards")).read()
    batches.read_batches(kept.folder("triplets"))
    return True


def test_a_dry_run_says_what_it_would_remove_and_removes_nothing(
    home: Workspace, states: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(home)
    assert main(["clean", "--dry-run", "--home", home.home]) == 0
    said = capsys.readouterr().out
    assert "phantom versions: 2 files and folders" in said
    assert "dry run" in said
    assert files(home) == before
    assert main(["clean", "--home", home.home]) == 0
    assert capsys.readouterr().out.splitlines()[:-1] == said.splitlines()[:-1]


def test_only_what_counts_is_left(home: Workspace, states: list[dict[str, str]]) -> None:
    clean(home.home_path(), False, print)
    assert [is_readable(home, state) for state in states] == [False, False, True]
    for stage in ("images", "shards"):
        assert len(list(home.folder(stage).glob("*[0-9a-f].parquet"))) == 1
    left = files(home)
    assert clean(home.home_path(), False, print).found == {}
    assert files(home) == left
    assert update(home, IngestionSettings(images=ImagesSettings(size=SIZES[-1])), progress=False) == states[-1]


def pin_by_a_live_run(home: Workspace, state: dict[str, str]) -> None:
    pin(home, "run", state)


def leave_a_training(home: Workspace, state: dict[str, str]) -> None:
    folder = home.home_path() / "checkpoints" / "mgca" / "abc"
    folder.mkdir(parents=True)
    shards = str(at_version(home, state["version"]).folder("shards"))
    (folder / "request.json").write_text(json.dumps({"shards": shards}))


@pytest.mark.parametrize("need", [pin_by_a_live_run, leave_a_training])
def test_what_a_run_needs_stays(
    home: Workspace, states: list[dict[str, str]], need: Callable[[Workspace, dict[str, str]], None]
) -> None:
    need(home, states[0])
    with living(home.home_path(), "run"):
        os.environ.pop("RADALIGN_LOCKS_HELD")  # as another process sees it
        clean(home.home_path(), False, print)
    assert [is_readable(home, state) for state in states] == [True, False, True]


def test_what_an_ended_run_pinned_goes(home: Workspace, states: list[dict[str, str]]) -> None:
    pin(home, "run", states[0])
    clean(home.home_path(), False, print)
    assert not is_readable(home, states[0])
    assert list((home.home_path() / "runs").iterdir()) == []


def test_a_dataset_that_is_being_written_is_left_out(home: Workspace, states: list[dict[str, str]]) -> None:
    lines: list[str] = []
    with writing(home, print):
        os.environ.pop("RADALIGN_LOCKS_HELD")
        clean(home.home_path(), False, lines.append)
    assert [is_readable(home, state) for state in states] == [True, True, True]
    assert len(lines) == 1
    assert "phantom is being written" in lines[0]


def test_a_dataset_whose_plan_is_damaged_is_left_out(home: Workspace, states: list[dict[str, str]]) -> None:
    lines: list[str] = []
    (home.folder("images") / "plan.parquet").write_text("{")
    before = files(home)
    clean(home.home_path(), False, lines.append)
    assert files(home).keys() - {str(home.home_path() / "phantom" / "ingestion.lock")} <= before.keys()
    assert before.keys() <= files(home).keys()
    assert len(lines) == 1
    assert "plan.parquet" in lines[0]


def test_damaged_and_old_partial_files_go_but_not_those_of_an_archive(
    home: Workspace, states: list[dict[str, str]]
) -> None:
    folder = home.folder("images")
    archive = home.home_path() / "phantom" / "archive"
    archive.mkdir()
    for path in (folder / "a.parquet.damaged", folder / "b.partial", folder / "c.partial", archive / "d.damaged"):
        path.touch()
    os.utime(folder / "b.partial", (0, 0))
    clean(home.home_path(), False, print)
    assert [(folder / name).exists() for name in ("a.parquet.damaged", "b.partial", "c.partial")] == [
        False,
        False,
        True,
    ]
    assert (archive / "d.damaged").exists()
