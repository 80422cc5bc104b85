"""An ingestion whose batches are Ray jobs, on simulated hosts that share a folder."""

from __future__ import annotations

import sys

import pytest
import yaml

from benchmarks.cluster import postgres, ray
from benchmarks.cluster.hosts import UNAVAILABLE, available, simulate_hosts
from benchmarks.homes import find_differences
from benchmarks.kills import COMMAND

MISSING = ray.missing() or postgres.missing() or ("" if available() else UNAVAILABLE)


@pytest.mark.skipif(bool(MISSING), reason=MISSING or "-")
def test_workers_on_two_hosts_compute_what_one_machine_computes(place):
    home = place.folder / "home"
    config = {**place.config(home), "execution": {"config": {"ray": {}}}}
    (place.folder / "run.yaml").write_text(yaml.safe_dump(config))
    with simulate_hosts(3) as hosts, postgres.running(hosts.gateway, ("dagster",)) as server:
        environment = {"RADALIGN_DATABASE": server.url("dagster")}
        with ray.running(hosts, environment) as cluster:
            own = {**environment, "RADALIGN_HOME": str(place.folder / "history"), "RAY_ADDRESS": cluster.address}
            done = hosts[0].run([sys.executable, *COMMAND, "-j", "ingest"], own, place.folder, timeout=500)
            assert done.returncode == 0, done.stderr[-3000:]
            rows = server.query("select distinct step_key from event_logs where step_key like '%[%'", "dagster")
            assert len(rows) == 2
    assert find_differences(place.folder / "never", home) == []
