"""What is said of a cluster that cannot be used, before a run begins."""

from __future__ import annotations

import json
import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("dagster_ray")
ray = pytest.importorskip("ray")

from pipelines.cluster.errors import ClusterError  # noqa: E402
from pipelines.cluster.ray import RayEngine, is_own  # noqa: E402

SETTINGS = {
    **{"patience_seconds": 1.0, "python": "", "num_cpus": 1.0, "memory": None, "resources": {}, "env_vars": []},
    **{"runtime_env": {}, "max_concurrent": None},
}
NODES = [
    {"node_ip": "127.0.0.1", "state": "ALIVE", "resources_total": {"CPU": 3.0}},
    {"node_ip": "10.99.99.99", "state": "ALIVE", "resources_total": {"CPU": 2.0}},
    {"node_ip": "10.99.99.98", "state": "ALIVE", "resources_total": {"memory": 1.0}},
    {"node_ip": "10.99.99.97", "state": "DEAD", "resources_total": {"CPU": 8.0}},
]


@pytest.fixture(autouse=True)
def _no_address(monkeypatch):
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def dashboard(version, nodes, status=200):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found = {"ray_version": version} if "version" in self.path else {"data": {"result": {"result": nodes}}}
            body = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_nobody_answers():
    with pytest.raises(ClusterError, match=r"Ray does not answer at http://127\.0\.0\.1:9 .*RAY_ADDRESS"):
        RayEngine({**SETTINGS, "address": "http://127.0.0.1:9"})


def test_a_cluster_with_a_token():
    with (
        dashboard(ray.__version__, NODES, status=401) as address,
        pytest.raises(
            ClusterError, match=rf"^Ray at {address} wants the token of its cluster: set RAY_AUTH_MODE=token"
        ),
    ):
        RayEngine({**SETTINGS, "address": address})


def test_the_address_of_the_run_config_counts_more_than_variables(monkeypatch):
    """Of which Ray itself takes the variables."""
    with dashboard(ray.__version__, NODES[:1]) as ours, dashboard(ray.__version__, NODES) as other:
        for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
            monkeypatch.setenv(name, other)
            assert RayEngine({**SETTINGS, "address": ours}).name == f"Ray at {ours}"
            assert os.environ[name] == other
        assert RayEngine({**SETTINGS, "address": ""}).name == f"Ray at {other}"


def test_another_version_of_ray():
    with dashboard("1.99.0", NODES) as address, pytest.raises(ClusterError, match=rf"1\.99\.0.*{ray.__version__}"):
        RayEngine({**SETTINGS, "address": address})


def test_a_cluster_without_workers():
    with dashboard(ray.__version__, NODES[2:]) as address, pytest.raises(ClusterError, match="no machine with a CPU"):
        RayEngine({**SETTINGS, "address": address})


def test_machines_that_live_and_have_cpus_are_checked_and_counted():
    with dashboard(ray.__version__, NODES) as address:
        engine = RayEngine({**SETTINGS, "address": address, "num_cpus": 2.0})
    assert list(engine.places()) == ["127.0.0.1", "10.99.99.99"]
    assert engine.places()["10.99.99.99"].resources == {"node:10.99.99.99": 0.001}
    assert engine.max_concurrent == 2
    assert engine.is_elsewhere()
    assert is_own("127.0.0.1")
