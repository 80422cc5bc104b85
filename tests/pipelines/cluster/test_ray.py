"""An ingestion whose batches are Ray jobs, on simulated hosts that share a folder."""

from __future__ import annotations

import shutil
import sys

import dagster as dg
import pytest
import yaml

from benchmarks.cluster import postgres, ray
from benchmarks.cluster.hosts import UNAVAILABLE, available, simulate_hosts
from benchmarks.homes import find_differences
from benchmarks.kills import COMMAND, Place
from pipelines.definitions import defs

MISSING = ray.missing() or postgres.missing() or ("" if available() else UNAVAILABLE)


@pytest.mark.skipif(bool(MISSING), reason=MISSING or "-")
def test_workers_on_two_hosts_compute_what_one_machine_computes(tmp_path):
    place, home, never = Place(tmp_path, studies=30), tmp_path / "home", tmp_path / "never"
    with dg.DagsterInstance.ephemeral() as instance:
        defs.resolve_job_def("ingest").execute_in_process(
            run_config=place.config(home), instance=instance, partition_key="phantom"
        )
    shutil.copytree(home, never)
    shutil.rmtree(home / "phantom" / "images")
    config = {**place.config(home), "execution": {"config": {"ray": {}}}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    with simulate_hosts(3) as hosts, postgres.running(hosts.gateway, ("dagster",)) as server:
        environment = {"RADALIGN_DATABASE": server.url("dagster")}
        with ray.running(hosts, environment) as cluster:
            own = {**environment, "RADALIGN_HOME": str(tmp_path / "history"), "RAY_ADDRESS": cluster.address}
            done = hosts[0].run([sys.executable, *COMMAND, "-j", "ingest"], own, tmp_path, timeout=500)
            assert done.returncode == 0, done.stderr[-3000:]
            rows = server.query("select distinct step_key from event_logs where step_key like '%[%'", "dagster")
            assert len(rows) == 2
    assert find_differences(never, home) == []
