"""Requests to Ray's dashboard: none is waited for for ever, and a cluster that is away is asked again."""

from __future__ import annotations

import json

import pytest
import requests

from benchmarks.cluster.ray import missing
from training.errors import TrainingError


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
    from training.parallel import ray_client

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
    with pytest.raises(TrainingError, match=r"^Ray at http://head:8265 does not answer any more \(ConnectionError\)"):
        client.get_version()
    monkeypatch.setattr(ray_client, "PATIENCE_SECONDS", 300.0)
    dashboard.asked.clear()
    with pytest.raises(TrainingError):
        client.stop_job("job")
    assert [method for method, _ in dashboard.asked] == ["POST"]  # not again: it may have had its effect
