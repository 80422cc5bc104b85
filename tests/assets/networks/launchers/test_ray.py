"""A training as a job of a real Ray cluster of one node."""

from __future__ import annotations

import json
import os
import sys

import pytest
import requests

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
    assert any(f"step {STEPS}, epoch" in line for line in training.said())


def test_a_cluster_that_is_not_there_is_one_sentence(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(LauncherError, match="needs the address of the cluster's dashboard"):
        ray.expect_ready(RaySettings())
    with pytest.raises(LauncherError, match=r"No Ray cluster answers at http://127\.0\.0\.1:9"):
        ray.expect_ready(RaySettings(address="http://127.0.0.1:9"))
    for address in ("http://head:port", "http://[::1"):
        with pytest.raises(LauncherError, match="No Ray cluster answers at http://"):
            ray.expect_ready(RaySettings(address=address))


class Dashboard:
    """Answers as Ray's dashboard, but for as many requests as it is `away`."""

    def __init__(self) -> None:
        self.away, self.asked = 0, []

    def request(self, method, url, **given):
        assert given["timeout"]
        self.asked.append((method, url))
        if self.away:
            self.away -= 1
            raise requests.ConnectionError("refused")
        response = requests.Response()
        response.status_code = 200
        response._content = json.dumps({"ray_version": "9.9", "version": "4", "session_name": ""}).encode()
        return response


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_cluster_that_is_away_for_a_while_is_asked_again(monkeypatch, caplog):
    from assets.networks.launchers import ray_client

    dashboard = Dashboard()
    monkeypatch.setattr(requests, "request", dashboard.request)
    monkeypatch.setattr(ray_client, "PAUSE_SECONDS", 0.0)
    client = ray_client.PatientClient("http://head:8265")
    dashboard.away = 3
    assert client.get_version() == "4"
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == "Ray at http://head:8265 does not answer; it is asked again for 300 s"
    monkeypatch.setattr(ray_client, "PATIENCE_SECONDS", 0.0)
    dashboard.away = 10
    with pytest.raises(LauncherError, match=r"^Ray at http://head:8265 does not answer any more \(ConnectionError\)"):
        client.get_version()
    monkeypatch.setattr(ray_client, "PATIENCE_SECONDS", 300.0)
    dashboard.asked.clear()
    with pytest.raises(LauncherError):
        client.stop_job("job")
    assert [method for method, _ in dashboard.asked] == ["POST"]  # not again: it may have had its effect
