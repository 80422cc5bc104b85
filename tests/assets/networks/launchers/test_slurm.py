"""A training as a job of Slurm, against programs that behave as Slurm's do."""

from __future__ import annotations

import json
import os
import threading
import time
from types import SimpleNamespace

import pytest

from assets.networks.launchers import slurm
from assets.networks.launchers.common import LauncherError
from assets.networks.launchers.settings import SlurmSettings
from models.run_files import TRAINED
from store.atomic import write_json
from store.remote import mirror
from tests.assets.networks.launchers import fake_slurm
from tests.assets.networks.launchers.conftest import STEPS

QUICK = {"poll_seconds": 0.2}


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """The folder of a cluster; its jobs are ended afterwards."""
    folder = tmp_path / "slurm"
    monkeypatch.setenv("PATH", f"{fake_slurm.install(folder)}:{os.environ['PATH']}")
    yield folder
    for path in folder.glob("job-*.json"):
        fake_slurm.scancel(folder, [path.stem.removeprefix("job-")])


def test_a_training_that_is_preempted_ends_in_the_weights_of_an_undisturbed_one(cluster, training, tmp_path):
    def disturb() -> None:
        training.await_step(5)
        fake_slurm.preempt(cluster, "1")

    disturbance = threading.Thread(target=disturb, daemon=True)
    disturbance.start()
    result = training.launch(slurm=QUICK)
    disturbance.join()
    assert result.success
    about = fake_slurm.Job(cluster, "1").read()
    assert (about["state"], about["restarts"], about["history"]) == ("COMPLETED", 1, ["PREEMPTED"])
    assert training.result()["resumed_from"] > 5
    said = training.said()
    assert any("as SIGUSR1 asked; the training goes on" in line for line in said)
    assert any("Slurm's job 1: RUNNING" in line for line in said)
    assert any(f"step {STEPS}, epoch" in line for line in said)
    assert not any("[pipes] unexpected" in line for line in said)
    assert "stopped by SIGTERM after step" in (training.output / "slurm" / "log.txt").read_text()
    undisturbed = training.undisturbed(tmp_path / "undisturbed")
    assert (training.output / TRAINED).read_bytes() == (undisturbed / TRAINED).read_bytes()
    assert not (training.output / "slurm" / "job.json").exists()
    assert (training.output / "slurm" / "job.sh").stat().st_mode & 0o077 == 0


def test_what_slurm_refuses_is_one_sentence(cluster, tmp_path):
    """Before any work, and where its job is submitted."""
    with pytest.raises(
        LauncherError, match=r"\(allocation failure: Invalid partition name specified\): correct .*`part"
    ):
        slurm.expect_ready(SlurmSettings(partition="unknown"), tmp_path)
    assert not list(cluster.glob("job-*.json"))
    slurm.expect_ready(SlurmSettings(partition="known", options=["--constraint=h100"]), tmp_path)
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/bash\n#SBATCH --partition=unknown\n")
    with pytest.raises(LauncherError, match=r"^sbatch refused the training: .*: Invalid partition name specified$"):
        slurm.submit(script, tmp_path)
    assert not (tmp_path / "job.json").exists()


def test_a_slurm_that_is_away_and_one_that_is_busy_before_any_work(away, tmp_path):
    """A job that would have to wait is not refused."""
    away("echo 'sbatch: error: Unable to contact slurm controller (connect failure)' >&2; exit 1")
    with pytest.raises(LauncherError, match=r"^Slurm does not answer .*connect failure.*: give the same command"):
        slurm.expect_ready(SlurmSettings(), tmp_path)
    away("echo 'allocation failure: Required node not available (down, drained or reserved)' >&2; exit 1")
    slurm.expect_ready(SlurmSettings(), tmp_path)


def test_a_home_on_object_storage_is_refused_before_any_work(cluster, tmp_path, monkeypatch):
    """The messages and the log of the job come home through its folder."""
    monkeypatch.setenv("RADALIGN_HOME", "s3://bucket/home")
    monkeypatch.setenv(mirror.VARIABLE, str(tmp_path / "mirror"))
    monkeypatch.delenv(mirror.KNOWN, raising=False)
    with pytest.raises(LauncherError, match="needs a home on a disk that the nodes share"):
        slurm.expect_ready(SlurmSettings(), tmp_path / "mirror" / "checkpoints")


def test_a_folder_may_have_blanks_and_signs_that_a_shell_replaces(cluster, tmp_path):
    folder = tmp_path / "a run, 100%j for $HOME" / "chexzero" / "a" / "slurm"
    folder.mkdir(parents=True)
    script = folder / "job.sh"
    given = slurm.job_script(SlurmSettings(python="echo"), folder / "request.json", folder, {"A": "a 'b' $c"})
    script.write_text(given)
    job = slurm.submit(script, folder)
    while not slurm.is_over(slurm.job_state(job)[0]):
        real_sleep(0.05)
    said = (folder / "log.txt").read_text()
    assert said.endswith(f"--max-restarts=3 {folder}/request.json\n")
    assert f"--rdzv-endpoint=127.0.0.1:{20000 + int(job)} --rdzv-id={job}-0" in said


def test_a_job_whose_number_a_step_did_not_hear_is_ended_by_the_next_one(cluster, tmp_path):
    """The step was killed after Slurm had taken the job."""
    folder = tmp_path / "chexzero" / "a" / "slurm"
    folder.mkdir(parents=True)
    script = folder / "job.sh"
    script.write_text("#!/bin/bash\nsleep 600\n")
    job = slurm.submit(script, folder)
    other = slurm.submit(script, tmp_path)
    write_json(folder / "job.json", {**json.loads((folder / "job.json").read_text()), "job": ""})
    context = FakeContext()
    slurm.end_earlier(folder, context)
    assert slurm.job_state(job)[0] == "CANCELLED"
    assert not slurm.is_over(slurm.job_state(other)[0])
    assert f"Slurm's job {job} of an earlier run is" in context.said[0]
    assert not (folder / "job.json").exists()


def test_a_job_is_cancelled_with_its_step(cluster, tmp_path, monkeypatch):
    """And one that a step left, before another begins."""
    script = tmp_path / "job.sh"
    script.write_text(f"#!/bin/bash\n#SBATCH --output={tmp_path}/log.txt\nsleep 600\n")
    context, settings = FakeContext(), SlurmSettings(poll_seconds=0.1)
    job = slurm.submit(script, tmp_path)
    slurm.end_earlier(tmp_path, context)
    assert slurm.job_state(job)[0] == "CANCELLED"
    assert "of an earlier run is" in context.log.said[0]

    again = slurm.submit(script, tmp_path)
    monkeypatch.setattr(slurm, "time", SimpleNamespace(sleep=interrupt, monotonic=time.monotonic))
    with pytest.raises(KeyboardInterrupt):
        slurm.follow(again, settings, context, tmp_path)
    monkeypatch.undo()
    assert fake_slurm.Job(cluster, again).state() == "CANCELLED"
    assert not fake_slurm.Job(cluster, again).processes(script=True)


class FakeContext:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.log = self
        self.said: list[str] = []

    def info(self, line: str) -> None:
        self.said.append(line)


def interrupt(_: float) -> None:
    """Ctrl-C, the first time that somebody waits."""
    slurm.time.sleep = real_sleep
    raise KeyboardInterrupt


real_sleep = slurm.time.sleep


@pytest.fixture
def away(tmp_path, monkeypatch):
    """`away(line)`: all programs of Slurm are this line of shell, as where the controller is away."""

    def replace_programs(line):
        for name in slurm.PROGRAMS:
            path = tmp_path / "away" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"#!/bin/sh\n{line}\n")
            path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}/away:{os.environ['PATH']}")

    monkeypatch.setattr(slurm, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(slurm, "STOP_SECONDS", 0.0)
    return replace_programs


def test_a_program_that_hangs_is_taken_for_one_that_does_not_answer(away):
    away("exec sleep 60")
    assert slurm.job_state("7") == (slurm.UNANSWERED, "")


def test_an_sbatch_that_hangs_is_waited_for_and_that_is_said(away, tmp_path):
    away("sleep 0.6; echo '7;cluster'")
    said = []
    assert slurm.submit(tmp_path / "job.sh", tmp_path, said.append) == "7"
    assert said == ["sbatch does not answer; waiting for it."]


def test_a_job_that_slurm_could_not_be_told_to_end_is_ended_by_the_next_step(away, tmp_path, monkeypatch):
    """However long Slurm does not answer, nobody takes the job for one that has ended."""
    away("echo 'Unable to contact slurm controller' >&2; exit 1")
    monkeypatch.setattr(slurm, "UNKNOWN_SECONDS", 0.0)
    waited, record, context = [], tmp_path / "job.json", FakeContext()
    write_json(record, {"job": "7"})

    def wait(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(slurm, "time", SimpleNamespace(sleep=wait, monotonic=time.monotonic))
        with pytest.raises(KeyboardInterrupt):
            slurm.follow("7", SlurmSettings(), context, tmp_path)
    assert context.said == ["Slurm's job 7: unknown, as Slurm does not answer."]
    with pytest.raises(LauncherError, match="its job 7 of an earlier run may go on"):
        slurm.end_earlier(tmp_path, context)
    assert record.exists()
    away("echo 'Invalid job id specified' >&2; exit 1")
    slurm.end_earlier(tmp_path, context)
    assert not record.exists()


def test_a_machine_without_slurm_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LauncherError, match="needs sbatch, squeue, sacct, scancel, scontrol on PATH"):
        slurm.expect_ready(SlurmSettings(), tmp_path)
