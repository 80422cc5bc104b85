"""`make ui`: Dagster and MLflow in the browser of this machine, until Ctrl-C stops both.

Neither has a login, so both listen on 127.0.0.1 only and answer the user's own pages only (`pipelines.ui.guard`).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pipelines.ui.guard import HOST
from store.code import ROOT

STOP_SECONDS = 15  # before a server that ignores the request to stop is killed
WATCH_SECONDS = 0.5


def main(arguments: Sequence[str]) -> int:
    """Start the servers and wait; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.ui", description=__doc__)
    parser.add_argument("--dagster-port", type=int, default=3000)
    parser.add_argument("--mlflow-port", type=int, default=5000)
    options = parser.parse_args(arguments)
    for name in ("dagster", "mlflow"):
        if _is_taken(port := getattr(options, f"{name}_port")):
            parser.error(f"port {port} is in use: stop what uses it, or give another one with --{name}-port")
    for wish in (signal.SIGINT, signal.SIGTERM):  # also where the shell that started this ignores them
        signal.signal(wish, signal.default_int_handler)
    os.environ.setdefault("DAGSTER_HOME", str(ROOT))  # the folder of dagster.yaml, which the daemon insists on
    with tempfile.TemporaryDirectory(prefix="radalign-") as folder:
        return _serve(options.dagster_port, options.mlflow_port, Path(folder, "workspace.yaml"))


def _serve(dagster_port: int, mlflow_port: int, workspace: Path) -> int:
    servers = [
        _start("pipelines.ui.dagster_server", str(dagster_port), str(workspace)),
        _start("pipelines.ui.mlflow_server", str(mlflow_port)),
    ]
    daemon: subprocess.Popen[bytes] | None = None  # starts when it can find the code
    sys.stdout.write(
        f"Dagster: http://{HOST}:{dagster_port}   MLflow: http://{HOST}:{mlflow_port}   "
        "(ready in some 20 seconds; Ctrl-C stops both)\n"
    )
    sys.stdout.flush()
    try:
        while all(server.poll() is None for server in servers):
            if daemon is None and workspace.exists():
                daemon = _start("dagster._daemon", "run", "--workspace", str(workspace), "--log-level", "warning")
                servers.append(daemon)
            time.sleep(WATCH_SECONDS)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(servers)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _start(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """In a session of its own, so that Ctrl-C in the terminal reaches this process alone."""
    return subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=ROOT, start_new_session=True)


def _stop(servers: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask the whole session of each server to stop, then insist."""
    for wish in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        running = [server for server in servers if server.poll() is None]
        for server in running:
            os.killpg(server.pid, wish)
        deadline = time.monotonic() + STOP_SECONDS
        for server in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(max(0.0, deadline - time.monotonic()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
