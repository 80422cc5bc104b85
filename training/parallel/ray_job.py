"""`python -m training.parallel.ray_job SETTINGS REQUEST`: what the launcher's job of Ray runs.

It takes a place on each machine and starts an agent of torchrun there. What these write is printed here, line by line,
where it becomes the log of the job. SIGTERM, which ends a job, is passed on to the agents. A machine that fails ends
the attempt; the next one begins on the machines that are there, from the last checkpoint.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from store.code import ROOT
from training.errors import PARENT
from training.parallel.agent import agent_command

GONE = -1  # status of an agent whose machine has failed


@dataclass(frozen=True)
class Wanted:
    """What the training takes of the cluster."""

    nodes: int
    processes: int  # on each node
    max_restarts: int
    cpus_per_node: float
    gpus_per_node: float
    spread: bool  # each part on a node of its own
    wait_seconds: float


class Agent:
    """An agent of torchrun on one machine."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def endpoint(self) -> str:
        """This machine's address, with a port that is free."""
        with socket.socket() as free:
            free.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"

    def run(self, command: list[str]) -> Iterator[str | int]:
        """Start the agent; yields each line that it writes, and its exit status last."""
        self._process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, PARENT: str(os.getpid())}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        assert self._process.stdout is not None
        for line in self._process.stdout:  # noqa: UP028  (Ray sends into generators, which a file cannot take)
            yield line
        yield self._process.wait()

    def stop(self) -> None:
        """Ask it to end with a checkpoint."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)


class Attempt:
    """All agents, until one of them ends or is gone."""

    def __init__(self, settings: Wanted, request: str, meeting: str) -> None:
        self.settings, self.request, self.meeting = settings, request, meeting
        self.place: PlacementGroup | None = None
        self.agents: list[Any] = []
        self.statuses: list[int] = []

    def run(self) -> list[int]:
        """Start the agents and print what they say; returns their exit statuses."""
        self.place = self._take_place()
        kind = ray.remote(num_cpus=self.settings.cpus_per_node, num_gpus=self.settings.gpus_per_node)(Agent)
        self.agents = [
            kind.options(
                max_concurrency=2,
                scheduling_strategy=PlacementGroupSchedulingStrategy(self.place, placement_group_bundle_index=number),
            ).remote()
            for number in range(self.settings.nodes)
        ]
        self.statuses = [GONE] * self.settings.nodes
        endpoint = ray.get(self.agents[0].endpoint.remote())
        nodes, processes, restarts = self.settings.nodes, self.settings.processes, self.settings.max_restarts
        command = agent_command(sys.executable, nodes, processes, restarts, endpoint, self.meeting, self.request)
        threads = [
            threading.Thread(target=self._follow, args=(number, command)) for number in range(self.settings.nodes)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.5)  # in parts, so that signals are handled
        return self.statuses

    def _take_place(self) -> PlacementGroup:
        settings = self.settings
        each = {"CPU": settings.cpus_per_node, **({"GPU": settings.gpus_per_node} if settings.gpus_per_node else {})}
        place = placement_group([each] * settings.nodes, strategy="STRICT_SPREAD" if settings.spread else "PACK")
        if not place.wait(settings.wait_seconds):
            raise SystemExit(
                f"training: Ray has not found {settings.nodes} places with {each} free in "
                f"{settings.wait_seconds:.0f} s: ask for less, or add nodes"
            )
        return place

    def _follow(self, number: int, command: list[str]) -> None:
        try:
            for reference in self.agents[number].run.options(num_returns="streaming").remote(command):
                said = ray.get(reference)
                if isinstance(said, int):
                    self.statuses[number] = said
                else:
                    sys.stdout.write(said)
                    sys.stdout.flush()
        except RayError as error:
            sys.stdout.write(f"training: place {number} of the training is gone ({type(error).__name__})\n")
        if self.statuses[number]:
            self.stop()  # the others would wait for it

    def stop(self) -> None:
        """Ask all agents to end with a checkpoint."""
        for agent in self.agents:
            agent.stop.remote()

    def close(self) -> None:
        """Give the place back."""
        for agent in self.agents:
            ray.kill(agent)
        if self.place is not None:
            remove_placement_group(self.place)


def main(arguments: list[str]) -> int:
    """Attempt after attempt, until all agents have ended; returns the exit status."""
    settings, request = Wanted(**json.loads(arguments[0])), arguments[1]
    ray.init(address="auto", logging_level=logging.ERROR)
    stopped = threading.Event()
    status = 1
    for number in range(settings.max_restarts + 1):
        attempt = Attempt(settings, request, f"{ray.get_runtime_context().get_job_id()}-{number}")

        def stop(_: int, __: FrameType | None, attempt: Attempt = attempt) -> None:
            stopped.set()
            threading.Thread(target=attempt.stop).start()

        signal.signal(signal.SIGTERM, stop)
        try:
            statuses = attempt.run()
        finally:
            attempt.close()
        status = next((one for one in statuses if one > 0), 0 if GONE not in statuses else 1)
        if stopped.is_set() or GONE not in statuses:
            return status
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
