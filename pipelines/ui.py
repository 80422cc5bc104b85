"""`make ui`: Dagster and MLflow in the browser of this machine, until Ctrl-C stops both.

Neither has a login, so both listen on 127.0.0.1 only. A team puts a proxy with one in front.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from ingestion.workspace import Workspace
from store.code import ROOT
from tracking.tracker import create_store

HOST = "127.0.0.1"
STOP_SECONDS = 15  # before a server that ignores the request to stop is killed
WATCH_SECONDS = 0.5


def main(arguments: Sequence[str]) -> int:
    """Start both servers and wait; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.ui", description=__doc__)
    parser.add_argument("--dagster-port", type=int, default=3000)
    parser.add_argument("--mlflow-port", type=int, default=5000)
    options = parser.parse_args(arguments)
    for wish in (signal.SIGINT, signal.SIGTERM):  # also where the shell that started this ignores them
        signal.signal(wish, signal.default_int_handler)
    servers = [_dagster(options.dagster_port), _mlflow(options.mlflow_port)]
    sys.stdout.write(
        f"Dagster: http://{HOST}:{options.dagster_port}   MLflow: http://{HOST}:{options.mlflow_port}   "
        "(ready in some 20 seconds; Ctrl-C stops both)\n"
    )
    sys.stdout.flush()
    try:
        while all(server.poll() is None for server in servers):
            time.sleep(WATCH_SECONDS)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        for server in servers:
            _stop(server)


def _dagster(port: int) -> subprocess.Popen[bytes]:
    command = ["dagster", "dev", "--workspace", "workspace.yaml", "--host", HOST, "--port", str(port)]
    return _start([*command, "--log-level", "warning"], {})


def _mlflow(port: int) -> subprocess.Popen[bytes]:
    home = Workspace().home_path()
    uri = create_store(home)
    artifacts = (home / "mlartifacts").as_uri()
    command = ["mlflow", "server", "--backend-store-uri", uri, "--default-artifact-root", artifacts]
    command += ["--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--allowed-hosts", "localhost:*,127.0.0.1:*", "--uvicorn-opts", "--log-level warning"]
    return _start(command, {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})


def _start(command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """In a session of its own, so that Ctrl-C in the terminal reaches this process alone."""
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, **environment},
        start_new_session=True,
    )


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Ask the server's whole session to stop, then insist."""
    for wish in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if server.poll() is not None:
            return
        os.killpg(server.pid, wish)
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
