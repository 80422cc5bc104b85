"""`make ui`: Dagster and MLflow in the browser of this machine, until Ctrl-C stops both.

Neither has a login, so both listen on 127.0.0.1 only and answer the user's own pages only (`radalign.serving.guard`).
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType

from radalign.serving.guard import HOST
from store.code import ROOT
from store.errors import UserError
from store.home import default_home
from store.processes import end_with_parent
from tracking.places import VARIABLE as MLFLOW
from tracking.places import is_server, pages_address, place_of
from tracking.places.postgres import HISTORY_VARIABLE

STOP_SECONDS = 15  # for the servers to stop when they are asked to
LEAVE_SECONDS = 3  # for what they have started
WATCH_SECONDS = 0.5
PORTS = {"dagster": 3000, "mlflow": 5000}
DAEMON = "Dagster's daemon"


def main(arguments: Sequence[str]) -> int:
    """Start the servers and wait; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.ui", description=__doc__)
    for name, port in PORTS.items():
        variable = f"RADALIGN_{name.upper()}_PORT"  # `make ui RADALIGN_MLFLOW_PORT=5001` sets it as well
        default = os.environ.get(variable, port)
        parser.add_argument(f"--{name}-port", type=int, default=default, metavar="PORT", help=f"default {port}")
    options = parser.parse_args(arguments)
    ports = {name: int(getattr(options, f"{name}_port")) for name in PORTS}
    for name, port in ports.items():
        if fault := _port_fault(name, port):
            parser.error(fault)
    if len(set(ports.values())) < len(ports):
        parser.error("Dagster and MLflow need a port each: give another one with --mlflow-port")
    _on_wish_to_stop(signal.default_int_handler)  # also where the shell that started this ignores such signals
    os.environ.setdefault("DAGSTER_HOME", str(ROOT))  # the folder of dagster.yaml, which the daemon insists on
    try:
        expect_databases()
    except UserError as error:
        parser.exit(2, f"{error}\n")
    with tempfile.TemporaryDirectory(prefix="radalign-") as folder:
        return _serve(ports, Path(folder, "workspace.yaml"))


def expect_databases() -> None:
    """Raise UserError where a database or a server that the environment names cannot be used."""
    place_of(default_home()).expect()
    if os.environ.get(HISTORY_VARIABLE):
        from pipelines.history import open_history  # imports Dagster

        open_history()


def _serve(ports: dict[str, int], workspace: Path) -> int:
    servers: dict[str, subprocess.Popen[bytes]] = {}
    try:
        servers["Dagster"] = _start("pipelines.ui.dagster_server", str(ports["dagster"]), str(workspace))
        served = is_server(os.environ.get(MLFLOW, ""))  # by others
        if not served:
            servers["MLflow"] = _start("pipelines.ui.mlflow_server", str(ports["mlflow"]))
        pages = pages_address() if served else f"http://{HOST}:{ports['mlflow']}"
        _say(
            f"Dagster: http://{HOST}:{ports['dagster']}   MLflow: {pages}   "
            "(ready in some 20 seconds; Ctrl-C stops what was started)"
        )
        while all(server.poll() is None for server in servers.values()):
            if DAEMON not in servers and workspace.exists():  # it can find the code
                servers[DAEMON] = _start(
                    "dagster._daemon", "run", "--workspace", str(workspace), "--log-level", "warning"
                )
            time.sleep(WATCH_SECONDS)
        for name, server in servers.items():
            if server.poll() is not None:
                _say(f"{name} has ended with status {server.returncode}, so everything is stopped.")
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        _on_wish_to_stop(signal.SIG_IGN)  # a second Ctrl-C would leave a server behind
        _stop(list(servers.values()))


def _on_wish_to_stop(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    for wish in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(wish, handler)


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _port_fault(name: str, port: int) -> str:
    """Why a port cannot be listened on, in one sentence; empty where it can."""
    another = f"give another one with --{name}-port, or with make ui RADALIGN_{name.upper()}_PORT=NUMBER"
    if not 0 < port < 65536:
        return f"port {port} is not between 1 and 65535: {another}"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError as error:
            why = "is in use: stop what uses it, or" if error.errno == errno.EADDRINUSE else f"({error.strerror}):"
            return f"port {port} {why} {another}"
    return ""


def _start(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """In a session of its own, so that Ctrl-C in the terminal reaches this process alone.

    The kernel ends it where this process is killed.
    """
    command, stop = [sys.executable, "-m", module, *arguments], partial(end_with_parent, signal.SIGTERM)
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, preexec_fn=stop)


def _stop(servers: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask the whole session of each server to stop, then insist. What a dead server has started is stopped as well."""
    _signal(servers, signal.SIGINT)
    _wait(lambda: all(server.poll() is not None for server in servers), STOP_SECONDS)
    _signal(servers, signal.SIGTERM)
    _wait(lambda: not _signal(servers, 0), LEAVE_SECONDS)
    _signal(servers, signal.SIGKILL)
    for server in servers:
        server.wait()


def _signal(servers: Sequence[subprocess.Popen[bytes]], wish: int) -> bool:
    """Send a signal to the session of each server; returns whether a process was there, also a dead one."""
    reached = False
    for server in servers:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, wish)
            reached = True
    return reached


def _wait(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(WATCH_SECONDS / 10)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
