"""A training as a job of a real Ray cluster of one node."""

from __future__ import annotations

import os
import re
import sys

import pytest

from assets.networks.launchers import ray
from assets.networks.launchers.common import LauncherError
from assets.networks.launchers.settings import RaySettings
from benchmarks.cluster.hosts import simulate_hosts
from benchmarks.cluster.ray import missing, running
from models.run_files import TRAINED
from tests.assets.networks.launchers.conftest import STEPS


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_training_on_ray_is_that_of_one_process(training, tmp_path):
    with simulate_hosts(2) as hosts, running(hosts, {"PYTHONPATH": os.pathsep.join(sys.path)}) as cluster:
        result = training.launch(ray={"address": cluster.address, "poll_seconds": 0.2})
        log = "\n".join(path.read_text() for path in hosts[0].home.rglob("job-driver-*.log"))
    assert result.success, log
    undisturbed = training.undisturbed(tmp_path / "undisturbed")
    assert (training.output / TRAINED).read_bytes() == (undisturbed / TRAINED).read_bytes()
    steps = [int(found[1]) for line in training.said() if (found := re.match(r"step (\d+), epoch", line))]
    assert steps == sorted(set(steps))
    assert steps[-1] == STEPS


def test_a_cluster_that_is_not_there_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(LauncherError, match="needs the address of the cluster's dashboard"):
        ray.expect_ready(RaySettings(), tmp_path)
    with pytest.raises(LauncherError, match=r"Ray does not answer at http://127\.0\.0\.1:9"):
        ray.expect_ready(RaySettings(address="http://127.0.0.1:9"), tmp_path)
    for address in ("http://head:port", "http://[::1"):
        with pytest.raises(LauncherError, match="Ray does not answer at http://"):
            ray.expect_ready(RaySettings(address=address), tmp_path)
