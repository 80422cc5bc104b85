from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from store.code import ROOT
from tests.pipelines.instances import history

OPEN = "import dagster as dg; dg.DagsterInstance.get()"


@dg.job
def nothing() -> None:
    pass


def opening(home: Path, folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "DAGSTER_HOME": str(ROOT), "RADALIGN_HOME": str(home)}
    return subprocess.Popen(
        [sys.executable, "-c", OPEN], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    )


def test_processes_that_open_a_new_history_together_all_succeed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    processes = [opening(home, tmp_path) for _ in range(4)]
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, said
    assert sorted(path.name for path in (home / "dagster" / "history").glob("*.db")) == ["runs.db"]
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_homes_have_histories_of_their_own(tmp_path: Path) -> None:
    with history(ROOT, tmp_path / "one") as instance:
        nothing.execute_in_process(instance=instance)
        assert [run.job_name for run in instance.get_runs()] == ["nothing"]
    with history(ROOT, tmp_path / "two") as instance:
        assert instance.get_runs() == []


def test_a_home_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    process = opening(tmp_path / "file" / "home", tmp_path)
    said = process.communicate()[1]
    assert process.returncode == 2
    assert said == (
        f"The home {tmp_path}/file/home cannot be made, because {tmp_path}/file is a file: "
        "set RADALIGN_HOME to a folder.\n"
    )


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_environment_is_entered_from_any_folder(tmp_path: Path, shell: str) -> None:
    if not any(Path(place, shell).exists() for place in os.environ["PATH"].split(os.pathsep)):
        pytest.skip(f"there is no {shell}")
    command = f". '{ROOT}/activate' && echo $DAGSTER_HOME && command -v dagster"
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        [shell, "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [str(ROOT), str(ROOT / ".venv/bin/dagster")]
