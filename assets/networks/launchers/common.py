"""What the launchers for several machines share."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import dagster as dg

from assets.networks.launchers.settings import SeveralHosts
from store.atomic import write_text
from store.errors import UserError
from store.processes import beside
from store.remote import mirror
from training.errors import FAILURE
from training.parallel.agent import agent_command
from training.parallel.heartbeat import HEARTBEAT, SILENCE

TAIL_SECONDS, BRING_SECONDS = 1.0, 15.0
STOP_SECONDS = 120.0  # for a training on other machines to write its checkpoint and end
# Variables that a training elsewhere needs: none of them holds a password or a key.
PASSED_ON = (
    "RADALIGN_HOME", "RADALIGN_CACHE_BYTES", "RADALIGN_FETCH_BYTES", SILENCE, "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3", "AWS_REGION",
    "AWS_DEFAULT_REGION", "HF_HUB_OFFLINE",
)  # fmt: skip
PASSED_ON_OF = ("TORCH_", "NCCL_", "GLOO_")  # all whose names begin so


class LauncherError(UserError):
    """The training cannot be launched as the launchpad asks; the message is one sentence."""


class LaunchedTrainingError(Exception):
    """The training ended without its result, for a reason that it did not say."""


def command_for(settings: SeveralHosts, python: str, endpoint: str, meeting: str, request: Path) -> list[str]:
    """The command of each machine (`training.parallel.agent.agent_command`)."""
    place = mirror.address_of(request)
    return agent_command(python, settings.nodes, settings.processes, settings.max_restarts, endpoint, meeting, place)


def heartbeat_file(output: Path) -> Path:
    """The file by which the training sees that its step lives."""
    return output / "heartbeat"


def environment_of(settings: SeveralHosts, output: Path, pipes: Mapping[str, str]) -> dict[str, str]:
    """The variables of a training on machines that do not inherit those of this process."""
    own = {name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith(PASSED_ON_OF)}
    return {**own, HEARTBEAT: str(heartbeat_file(output)), **settings.environment, **pipes}


class ClosedOnce:
    """Passes a training's messages on to Dagster, and that they end only at `close`: a training may start again.

    The sentence of a mistake is kept in the run's folder, where the asset looks for it.
    """

    def __init__(self, handler: dg.PipesMessageHandler, output: Path) -> None:
        self._handler, self._output = handler, output
        self._closed: Any = None

    def handle_message(self, message: Any) -> None:
        """Take one message."""
        method, said = message.get("method"), (message.get("params") or {}).get("payload")
        if method == "closed":
            self._closed = message
        elif method == "report_custom_message" and isinstance(said, dict) and FAILURE in said:
            write_text(self._output / FAILURE, f"{said[FAILURE]}\n")
        else:
            self._handler.handle_message(message)

    def close(self) -> None:
        """Say that no more will come."""
        if self._closed is not None:
            self._handler.handle_message(self._closed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)


def closing_once(reader: Any, output: Path) -> Any:
    """The reader of messages, for a training that may start again."""
    read = reader.read_messages

    @contextmanager
    def read_with_one_end(handler: Any) -> Iterator[Any]:
        once = ClosedOnce(handler, output)
        with read(once) as place:
            yield place
        once.close()

    reader.read_messages = read_with_one_end
    return reader


@contextmanager
def bringing(output: Path) -> Iterator[None]:
    """Bring what the training publishes to this machine, where its home is on object storage: curves, then results."""
    ended = threading.Event()

    def bring() -> None:
        while not ended.wait(BRING_SECONDS):
            with suppress(UserError):  # the store is away; the next time
                mirror.bring(output)

    with nullcontext() if mirror.keeper_of(output) is None else beside(bring, ended, "bringing"):
        yield
    mirror.bring(output)


@contextmanager
def forwarding(path: Path) -> Iterator[None]:
    """Copy what is appended to a file to this process's stderr, as a child's output would be."""
    ended = threading.Event()
    start = path.stat().st_size if path.exists() else 0

    def follow() -> None:
        at = start
        while True:
            last = ended.wait(TAIL_SECONDS)
            if path.exists():
                with path.open("rb") as file:
                    file.seek(at)
                    said = file.read()
                at += len(said)
                sys.stderr.write(said.decode("utf-8", "replace"))
                sys.stderr.flush()
            if last:
                return

    with beside(follow, ended, "log-forwarding"):
        yield
