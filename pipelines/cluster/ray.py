"""Ray: workers are Ray jobs on the machines of a cluster, through dagster-ray."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dagster_ray.core.executor import RayStepHandler

from pipelines.cluster.errors import ClusterError
from training.parallel.ray_client import FIRST_ADDRESS, UNREACHABLE, Client, refusal_of

if TYPE_CHECKING:
    from dagster import DagsterEvent
    from dagster._core.executor.step_delegating import StepHandler, StepHandlerContext

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
ADDRESSES = (FIRST_ADDRESS, "RAY_ADDRESS")  # variables, the first one counts
NODES = "/api/v0/nodes?limit=10000&detail=1"


class Handler(RayStepHandler):
    """dagster-ray's own, which may start a step again whose start was not confirmed."""

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Submit the job of a step, unless it was."""
        try:
            yield from super().launch_step(step_handler_context)
        except RuntimeError as error:
            if "already" not in str(error):  # Ray's answer to an id that it knows
                raise


class RayEngine:
    """A Ray cluster that answers."""

    unreachable = UNREACHABLE

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """`settings` are those of `pipelines.executors.choice.RAY`.

        Raises:
            ClusterError: nobody answers at the address, or another version of Ray does.
        """
        self.patience = float(settings["patience_seconds"])
        self._client = connect(settings["address"])
        self.name = f"Ray at {self._client.get_address()}"
        self._nodes = [node for node in self._list_nodes() if node["resources_total"].get("CPU")]
        if not self._nodes:
            raise ClusterError(f"{self.name} has no machine with a CPU: start workers with `ray start --address`.")
        self._settings = dict(settings)
        self.handler: StepHandler = self._handle(settings["resources"])
        self.command: Sequence[str] = [
            shlex.quote(settings["python"] or sys.executable),
            "-m",
            "pipelines.cluster.worker",
        ]
        cpus = sum(node["resources_total"]["CPU"] for node in self._nodes)
        self.max_concurrent = settings["max_concurrent"] or max(1, int(cpus // (settings["num_cpus"] or 1)))

    def places(self) -> dict[str, StepHandler]:
        """A worker on each machine."""
        return {node["node_ip"]: self._handle({f"node:{node['node_ip']}": 0.001}, cpus=None) for node in self._nodes}

    def is_elsewhere(self) -> bool:
        """Whether one of the machines has an address that this one does not have."""
        return not all(is_own(node["node_ip"]) for node in self._nodes)

    def has_ended(self, context: StepHandlerContext) -> bool:
        """Whether the job of a step is over."""
        return self._client.get_job_status(self._job(context)).is_terminal()

    def read_output(self, context: StepHandlerContext) -> str:
        """What the job printed, as far as its machine is still there."""
        with suppress(RuntimeError):
            return str(self._client.get_job_logs(self._job(context)))
        return ""

    def read_waiting(self, context: StepHandlerContext) -> str:
        """Ray does not say."""
        return ""

    def _job(self, context: StepHandlerContext) -> str:
        return str(self.handler._get_ray_job_submission_id(context))  # type: ignore[attr-defined]

    def _handle(self, resources: Mapping[str, float], cpus: float | None = 0.0) -> Handler:
        given = self._settings
        return Handler(
            client=self._client,
            env_vars=list(given["env_vars"]),
            runtime_env=dict(given["runtime_env"]),
            num_cpus=given["num_cpus"] if cpus is not None else None,
            num_gpus=None,
            memory=given["memory"] if cpus is not None else None,
            resources=dict(resources),
        )

    def _list_nodes(self) -> list[dict[str, Any]]:
        answer = self._client._do_request("GET", NODES)
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["data"]["result"]["result"]
        return [node for node in found if node["state"] == "ALIVE"]


def connect(address: str) -> Client:
    """A client of the cluster at an address; empty: RAY_ADDRESS, else this machine.

    Raises:
        ClusterError: nobody answers, or another version of Ray does.
    """
    named = (address, *(os.environ.get(name, "") for name in ADDRESSES), DEFAULT_ADDRESS)
    place = next(filter(None, named))
    if why := refusal_of(place):
        raise ClusterError(why)
    return Client(place)


def is_own(address: str) -> bool:
    """Whether an address is one of this machine."""
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True
