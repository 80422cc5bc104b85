"""What the launchers for several machines share."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.networks.launchers.settings import SeveralHosts
from store.errors import UserError
from training.heartbeat import HEARTBEAT

if TYPE_CHECKING:
    import dagster as dg

TAIL_SECONDS = 1.0
STOP_SECONDS = 120.0  # for a training on other machines to write its checkpoint and end
PASSED_ON = ("RADALIGN_", "HF_", "AWS_", "TORCH_", "NCCL_", "GLOO_")  # variables that a training elsewhere needs


class LauncherError(UserError):
    """The training cannot be launched as the launchpad asks; the message is one sentence."""


class LaunchedTrainingError(Exception):
    """The training ended without its result, for a reason that it did not say."""


def agent_command(
    python: str, settings: SeveralHosts, endpoint: str, meeting: str, request: Path | str, nodes: str = ""
) -> list[str]:
    """The command that every machine runs.

    `endpoint` is where they meet, host:port, and `meeting` the name of it, which no other training has.
    """
    return [
        python,
        "-m",
        "training.agent",
        f"--nnodes={nodes or settings.nodes}",
        f"--nproc-per-node={settings.processes}",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={endpoint}",
        f"--rdzv-id={meeting}",
        f"--max-restarts={settings.max_restarts}",
        str(request),
    ]


def heartbeat_file(output: Path) -> Path:
    """The file by which the training sees that its step lives."""
    return output / "heartbeat"


def environment_of(settings: SeveralHosts, output: Path, pipes: Mapping[str, str]) -> dict[str, str]:
    """The variables of a training on machines that do not inherit those of this process."""
    own = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    return {**own, HEARTBEAT: str(heartbeat_file(output)), **settings.environment, **pipes}


class ClosedOnce:
    """Passes a training's messages on to Dagster, and that they end only at `close`: a training may start again."""

    def __init__(self, handler: dg.PipesMessageHandler) -> None:
        self._handler = handler
        self._closed: Any = None

    def handle_message(self, message: Any) -> None:
        """Take one message."""
        if message.get("method") == "closed":
            self._closed = message
        else:
            self._handler.handle_message(message)

    def close(self) -> None:
        """Say that no more will come."""
        if self._closed is not None:
            self._handler.handle_message(self._closed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)


def closing_once(reader: Any) -> Any:
    """The reader of messages, for a training that may start again."""
    read = reader.read_messages

    @contextmanager
    def read_with_one_end(handler: Any) -> Iterator[Any]:
        once = ClosedOnce(handler)
        with read(once) as place:
            yield place
        once.close()

    reader.read_messages = read_with_one_end
    return reader


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

    thread = threading.Thread(target=follow, name="log-forwarding", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
