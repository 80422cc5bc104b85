"""`python -m benchmarks.cluster.services`: the services of configs/cluster/services/compose.yaml, without containers.

The commands, variables and health checks are read from the compose file, and run as plain processes against a real
PostgreSQL and an S3-compatible server: the code server, Dagster's pages and daemon, MLflow's pages. Then a run of the
job `ingest` is launched through the pages, and must go through queue, daemon and code server into PostgreSQL and the
bucket. What stays untested are the images, and the network between containers.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import yaml

from benchmarks.cluster import object_store, postgres
from store.processes import end_with_parent

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / "configs" / "cluster" / "services"
VARIABLE = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")
OURS = ("code", "dagster", "daemon", "mlflow")  # in the order in which they start
PORTS = ("3000", "4000", "5000")
DAGSTER_FOLDER, MIRROR = "/home/radalign/dagster", "/home/radalign/var"
PATIENCE = 600.0  # seconds until a service is healthy, and for the run
SMALL = {
    "ops": {
        "archive": {"config": {"studies": 12, "height": 64}},
        "images": {"config": {"size": 32}},
    }
}
SELECTOR = {"repositoryLocationName": "radalign", "repositoryName": "__repository__", "jobName": "ingest"}
LAUNCH = """mutation($parameters: ExecutionParams!) { launchRun(executionParams: $parameters) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } } } }"""
ASK = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


def compose() -> dict[str, Any]:
    """The compose file."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
    return found


def interpolate(value: Any, variables: Mapping[str, str]) -> Any:
    """A part of the file with the values of its variables; KeyError for a required one that has none."""
    if isinstance(value, dict):
        return {name: interpolate(one, variables) for name, one in value.items()}
    if isinstance(value, list):
        return [interpolate(one, variables) for one in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name, kind, text = match.groups()
        if variables.get(name):
            return variables[name]
        if kind == "?":
            raise KeyError(text)
        return text or ""

    return VARIABLE.sub(replace, value)


@dataclass
class Services:
    """The services as processes: on free ports, in a folder of their own."""

    folder: Path
    server: postgres.Server
    store: Any
    ports: dict[str, int] = field(default_factory=lambda: {port: free_port() for port in PORTS})
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        credentials = self.store.environment()
        variables = {
            "POSTGRES_PASSWORD": self.server.password,
            "S3_ACCESS_KEY": credentials["AWS_ACCESS_KEY_ID"],
            "S3_SECRET_KEY": credentials["AWS_SECRET_ACCESS_KEY"],
            "ARCHIVES": str(self.folder),
        }
        self.endpoint = credentials["AWS_ENDPOINT_URL"]
        self.services = interpolate(compose(), variables)["services"]
        (self.folder / "dagster").mkdir()
        for name in ("dagster.yaml", "workspace.yaml"):
            text = (FOLDER / name).read_text(encoding="utf-8")
            text = text.replace("host: code", "host: 127.0.0.1").replace("port: 4000", f"port: {self.ports['4000']}")
            (self.folder / "dagster" / name).write_text(text)

    def here(self, text: str) -> str:
        """A part of a command or a variable, as it is on this machine."""
        text = text.replace("0.0.0.0", "127.0.0.1").replace("@postgres:5432", f"@127.0.0.1:{self.server.port}")
        text = text.replace("http://store:8333", self.endpoint)
        text = text.replace(DAGSTER_FOLDER, str(self.folder / "dagster")).replace(MIRROR, str(self.folder / "var"))
        for port, free in self.ports.items():
            text = re.sub(rf"\b{port}\b", str(free), text)
        return text

    def environment(self, name: str) -> dict[str, str]:
        """The variables of a service, and those of this process that are not Radalign's."""
        own = {key: self.here(str(value)) for key, value in self.services[name]["environment"].items()}
        rest = {key: value for key, value in os.environ.items() if not key.startswith(("RADALIGN_", "AWS_", "PG"))}
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return {**rest, "PATH": programs, "OMP_NUM_THREADS": "1", **own}

    def start(self, name: str) -> None:
        """Start a service."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [self.here(part) for part in self.services[name]["command"]],
                cwd=self.folder,
                env=self.environment(name),
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=partial(end_with_parent, signal.SIGTERM),
            )

    def run_once(self, name: str) -> None:
        """Run a service that does one thing and ends."""
        command = [self.here(part) for part in self.services[name]["command"]]
        subprocess.run(command, cwd=self.folder, env=self.environment(name), check=True)

    def expect_healthy(self, name: str) -> float:
        """Wait until the health check of a service passes; returns the seconds that it took."""
        check = [self.here(part) for part in self.services[name]["healthcheck"]["test"][1:]]
        begun = time.monotonic()
        while subprocess.run(check, cwd=self.folder, env=self.environment(name), capture_output=True).returncode:
            if self.processes[name].poll() is not None or time.monotonic() > begun + PATIENCE:
                raise SystemExit(f"{name} is not healthy:\n{self.log(name)}")
            time.sleep(1)
        return time.monotonic() - begun

    def log(self, name: str) -> str:
        """The end of what a service has printed."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]

    def ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """What the pages of Dagster answer to a query."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        address = f"http://127.0.0.1:{self.ports['3000']}/graphql"
        with urlopen(Request(address, body, {"content-type": "application/json"}), timeout=120) as answer:
            found: dict[str, Any] = json.load(answer)
        return found["data"]

    def launch(self) -> str:
        """Launch a small run of `ingest` through the pages; returns how it ended."""
        tags = [{"key": "dagster/partition", "value": "phantom"}]
        parameters = {"selector": SELECTOR, "runConfigData": json.dumps(SMALL), "executionMetadata": {"tags": tags}}
        launched = self.ask(LAUNCH, {"parameters": parameters})["launchRun"]
        if launched["__typename"] != "LaunchRunSuccess":
            raise SystemExit(f"The run was not launched: {launched}")
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            status = str(self.ask(ASK, {"id": launched["run"]["runId"]})["runOrError"]["status"])
            if status in ("SUCCESS", "FAILURE", "CANCELED"):
                return status
            time.sleep(2)
        return "TIMEOUT"

    def stop(self) -> None:
        """End the services and what they have started."""
        for wish in (signal.SIGTERM, signal.SIGKILL):
            for process in self.processes.values():
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, wish)
            deadline = time.monotonic() + 15
            while any(process.poll() is None for process in self.processes.values()) and time.monotonic() < deadline:
                time.sleep(0.2)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running() -> Iterator[Services]:
    """All services of the project, healthy."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="radalign-services-")))
        server = stack.enter_context(postgres.running())
        services = Services(folder, server, stack.enter_context(object_store.running()))
        stack.callback(services.stop)
        services.run_once("bucket")
        for name in OURS:
            services.start(name)
            sys.stdout.write(f"{name}: healthy after {services.expect_healthy(name):.0f} s\n")
            sys.stdout.flush()
        yield services


def main() -> int:
    """Start everything, launch a run, and say what became of it."""
    for part in (postgres, object_store):
        if reason := part.missing():
            raise SystemExit(reason)
    with running() as services:
        status = services.launch()
        events = services.server.query("select count(*) from event_logs", "dagster")[0][0]
        sys.stdout.write(f"the run ended with {status}; {events} events are in PostgreSQL\n")
        leaked = [name for name in OURS if services.server.password in (services.folder / f"{name}.log").read_text()]
        sys.stdout.write(f"logs that hold the password: {', '.join(leaked) or 'none'}\n")
        if status != "SUCCESS":
            sys.stdout.write("".join(f"\n{name}:\n{services.log(name)}\n" for name in OURS))
        return 0 if status == "SUCCESS" and not leaked else 1


if __name__ == "__main__":
    sys.exit(main())
