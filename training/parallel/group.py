"""The processes of one run, as torchrun starts them on one host or several: what they compare and tell each other.

They talk through a store (keys and values) at the first process, before the collectives of torch are there and when one
of these fails. A run without torchrun is one process.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from time import monotonic, sleep
from typing import TypeVar

import torch
import torch.distributed as dist

from store.errors import UserError
from training.errors import PeerLostError, TrainingError

FAILURE_KEY = "failure"
BROKEN = re.compile(r"gloo|nccl|connection (closed|reset|refused)|broken pipe|timed? ?out", re.IGNORECASE)
POLL_SECONDS = 0.05
T = TypeVar("T")


class Group:
    """This process among those of its run: `rank` of `size`, on `device`."""

    def __init__(self, device: torch.device, store: dist.Store | None = None, rank: int = 0, size: int = 1) -> None:
        self.device, self.rank, self.size = device, rank, size
        self._store = store
        self._topics = 0

    def collect(self, own: str) -> list[str]:
        """What every process brings, in the order of their ranks; all have to call this in the same order."""
        if self._store is None:
            return [own]
        topic, self._topics = f"topic/{self._topics}", self._topics + 1
        self._store.set(f"{topic}/{self.rank}", own)
        return [self._store.get(f"{topic}/{rank}").decode() for rank in range(self.size)]

    def together(self, call: Callable[[], T]) -> T:
        """`call()` on every process. Where it fails on any, all raise; a sentence for the user is the same on all."""
        if self.size == 1:
            return call()
        try:
            result, sentence = call(), ""
        except UserError as error:
            result, sentence = None, str(error)
        except Exception as error:
            self.collect(f"{host_name()}: {type(error).__name__}")
            raise
        failed = [(rank, said) for rank, said in enumerate(self.collect(sentence)) if said]
        if failed:
            raise TrainingError(failed[0][1])
        return result  # type: ignore[return-value]

    def report(self, error: UserError) -> None:
        """Leave the sentence that ends this process for the others, whose connection to it breaks."""
        if self._store is not None:
            with suppress(RuntimeError):  # the first process is gone
                self._store.set(FAILURE_KEY, str(error))

    def explain(self, error: RuntimeError) -> Exception:
        """What a broken connection means: the sentence of the process that failed, if it has left one."""
        sentence = ""
        with suppress(RuntimeError):  # the first process is gone
            if self._store is not None and self._store.check([FAILURE_KEY]):
                sentence = self._store.get(FAILURE_KEY).decode()
        if sentence:
            return TrainingError(sentence)
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return PeerLostError(
            f"the process of rank {self.rank} on {host_name()} has lost the others ({lines[0][:200]}): one of them "
            "ended, or its host cannot be reached; torchrun goes on from the last checkpoint if it has restarts left, "
            "and so does the same command"
        )


def host_name() -> str:
    """This machine, as sentences name it."""
    return socket.gethostname()


def is_broken(error: RuntimeError) -> bool:
    """Whether an error of torch says that another process cannot be reached."""
    return isinstance(error, dist.DistError) or bool(BROKEN.search(str(error)))


def open_store(rank: int, size: int, seconds: float) -> dist.Store:
    """The store of this start of the processes, at the first of them.

    The store that torchrun's agents offer still holds the keys of starts before, so that it serves only to find this
    one: a process greets with a word of its own, and the first one answers this word with its port.
    """
    host, port, patience = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), timedelta(seconds=seconds)
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return dist.TCPStore(host, port, size, rank == 0, patience)
    agents = dist.TCPStore(host, port, is_master=False, timeout=patience)
    if rank:
        word = secrets.token_hex(8)
        agents.set(f"greeting/{rank}", word)
        own = dist.TCPStore(host, int(agents.get(f"answer/{word}")), size, False, patience)
        own.set(f"here/{rank}", "")
        return own
    own = dist.TCPStore(host, 0, size, True, patience, wait_for_workers=False)
    _answer(agents, own, size, seconds)
    return own


def _answer(agents: dist.TCPStore, own: dist.TCPStore, size: int, seconds: float) -> None:
    """Tell the port to whoever greets, until all have come."""
    deadline, waiting = monotonic() + seconds, set(range(1, size))
    while waiting:
        for rank in sorted(waiting):
            if agents.check([f"greeting/{rank}"]):
                agents.set(f"answer/{agents.get(f'greeting/{rank}').decode()}", str(own.port))
            if own.check([f"here/{rank}"]):
                waiting.discard(rank)
        if monotonic() > deadline:
            raise PeerLostError(
                f"{len(waiting)} of {size} processes have not connected to {os.environ['MASTER_ADDR']} within "
                f"{seconds:.0f} s: check that their hosts can reach it"
            )
        sleep(POLL_SECONDS)
