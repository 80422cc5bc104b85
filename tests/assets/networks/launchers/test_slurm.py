"""A training as a job of Slurm, against programs that behave as Slurm's do."""

from __future__ import annotations

import os
import threading

import pytest

from models.run_files import TRAINED
from tests.assets.networks.launchers import fake_slurm

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
    assert any("Slurm's job 1: PENDING Priority" in line for line in said)
    assert any("step 80, epoch" in line for line in said)
    assert not any("[pipes] unexpected" in line for line in said)
    assert "stopped by SIGTERM after step" in (training.output / "slurm" / "log.txt").read_text()
    undisturbed = training.undisturbed(tmp_path / "undisturbed")
    assert (training.output / TRAINED).read_bytes() == (undisturbed / TRAINED).read_bytes()
    assert not (training.output / "slurm" / "job.json").exists()
