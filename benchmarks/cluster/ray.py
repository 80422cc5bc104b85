"""A Ray cluster on simulated hosts: a head without CPUs, and a worker on each other host.

    with simulate_hosts(3) as hosts, running(hosts) as cluster:
        cluster.address                 # of the dashboard, for RAY_ADDRESS
        hosts[1].kill()                 # a machine that fails
        cluster.start_worker(hosts[1])  # and comes back

`missing()` is a sentence where this environment lacks a part of Ray.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import distributions

from benchmarks.cluster.hosts import Host, Hosts

# Those of the extra `default` serve jobs.
DISTRIBUTIONS = ("ray", "dagster-ray", "aiohttp-cors", "colorful", "opencensus", "prometheus-client", "virtualenv")
PORT, DASHBOARD_PORT = 6379, 8265
START_SECONDS = 120.0
OBJECT_STORE_BYTES = 80_000_000
QUIET = {  # Ray reports its use to nobody
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_open_telemetry": "0",
    "RAY_num_prestart_python_workers": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}
# Seconds that pass until a host that was cut off is given up: Ray's own take a minute.
IMPATIENT = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "15",
}


def missing() -> str:
    """Why there can be no cluster here, in one sentence; empty where there can be."""
    # By metadata and not by `find_spec`, which fails for `colorful` once that is imported.
    installed = {found.name.lower().replace("_", "-") for found in distributions()}
    lacking = [name for name in DISTRIBUTIONS if name not in installed]
    return f"Ray or a part of it is not installed here ({', '.join(lacking)}): pip install 'ray[default]'." * bool(
        lacking
    )


class Cluster:
    """A head and its workers."""

    def __init__(self, hosts: Hosts, environment: Mapping[str, str], cpus: int) -> None:
        self.head, self.workers = hosts[0], hosts[1:]
        self.address = f"http://{self.head.address}:{DASHBOARD_PORT}"
        self._environment = {**QUIET, **IMPATIENT, "OMP_NUM_THREADS": "1", **environment}
        self._cpus = cpus

    def start_head(self) -> None:
        """Start the head, and wait until it answers."""
        place = ["--port", str(PORT), "--dashboard-host", self.head.address, "--dashboard-port", str(DASHBOARD_PORT)]
        process = self._start(self.head, ["--head", "--num-cpus", "0", "--include-dashboard", "true", *place])
        deadline = time.monotonic() + START_SECONDS
        while not self._answers("/api/version"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Ray did not start:\n{(self.head.home / 'ray.log').read_text()[-3000:]}")
            time.sleep(0.2)

    def start_worker(self, host: Host) -> None:
        """Start a worker, which needs some seconds to join."""
        self._start(host, ["--address", f"{self.head.address}:{PORT}", "--num-cpus", str(self._cpus)])

    def await_workers(self, count: int) -> None:
        """Wait until so many workers have joined."""
        deadline = time.monotonic() + START_SECONDS
        while len(self.alive()) < count + 1:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the workers of Ray did not join {self.address}")
            time.sleep(0.2)

    def alive(self) -> set[str]:
        """Addresses of the hosts that the head counts as alive; none where it does not answer."""
        answer = self._answers("/api/v0/nodes?limit=100")
        nodes = json.loads(answer)["data"]["result"]["result"] if answer else []
        return {node["node_ip"] for node in nodes if node["state"] == "ALIVE"}

    def _start(self, host: Host, options: list[str]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        own = ["--node-ip-address", host.address, "--object-store-memory", str(OBJECT_STORE_BYTES)]
        environment = {**self._environment, "RAY_TMPDIR": str(host.home)}
        return host.start(
            [*command, *own, "--temp-dir", str(host.home / "ray"), *options], environment, log=host.home / "ray.log"
        )

    def _answers(self, path: str) -> str:
        try:
            with urllib.request.urlopen(self.address + path, timeout=3) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""


@contextmanager
def running(hosts: Hosts, environment: Mapping[str, str] | None = None, cpus: int = 1) -> Iterator[Cluster]:
    """A cluster with `cpus` on each worker, which gets an environment; the hosts end it."""
    cluster = Cluster(hosts, environment or {}, cpus)
    cluster.start_head()
    for host in cluster.workers:
        cluster.start_worker(host)
    cluster.await_workers(len(cluster.workers))
    yield cluster
