"""An ingestion whose batches are Kubernetes jobs: dagster-k8s against an API that runs each pod as a process.

Kubernetes itself is not here. benchmarks/cluster/kubernetes.py says what of it is.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import yaml

from benchmarks.cluster import postgres
from benchmarks.homes import find_differences
from benchmarks.kills import COMMAND
from store.code import ROOT

pytest.importorskip("dagster_k8s")
from benchmarks.cluster import kubernetes

pytestmark = pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing() or "-")


def test_pods_compute_what_one_machine_computes(place):
    """The pods know the database and the home from their secret and their variables alone."""
    home = place.folder / "home"
    with postgres.running(databases=("dagster",)) as server:
        secret = {"RADALIGN_DATABASE": server.url("dagster")}
        with kubernetes.running(node(place), {"radalign": secret}) as cluster:
            done = run(place, cluster, secret, env_secrets=["radalign"])
            assert done.returncode == 0, done.stderr[-3000:]
            names = [name for _, name in cluster.jobs]
            assert len(names) == 3  # a check, and two batches
            assert all(job.status() == {"succeeded": 1} for job in cluster.jobs.values())
            bodies = str([job.body for job in cluster.jobs.values()])
            assert server.password not in bodies
            rows = server.query("select distinct step_key from event_logs where step_key like '%[%'", "dagster")
            assert len(rows) == 2
            assert "images b00000: " in done.stderr  # what the pods said came home
    assert find_differences(place.folder / "never", home) == []


def test_a_pod_without_the_database_ends_the_run_in_one_sentence_before_any_work(place):
    home = place.folder / "home"
    with (
        postgres.running(databases=("dagster",)) as server,
        kubernetes.running(node(place)) as cluster,
    ):
        done = run(place, cluster, {"RADALIGN_DATABASE": server.url("dagster")})
        assert len(cluster.jobs) == 1
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("radalign: The worker on ")
    assert "has the history in the home" in last
    assert "Traceback" not in done.stderr
    assert not (home / "phantom" / "images").exists()


def node(place):
    """What every pod has before its own variables."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(place.folder), "OMP_NUM_THREADS": "1"}


def run(place, cluster, environment, **settings):
    """The command, in an environment that knows the cluster."""
    config = place.config(place.folder / "home")
    own = {"job_image": "radalign", "python": sys.executable, "kubeconfig_file": str(cluster.kubeconfig)}
    config["execution"] = {"config": {"k8s": {**own, **settings}}}
    (place.folder / "run.yaml").write_text(yaml.safe_dump(config))
    return subprocess.run(
        [sys.executable, *COMMAND, "-j", "ingest"],
        cwd=place.folder,
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT), "RADALIGN_HOME": str(place.folder / "history")},
        capture_output=True,
        text=True,
        timeout=500,
    )
