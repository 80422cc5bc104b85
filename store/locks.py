"""Locks between processes on one machine. The kernel frees a lock however its holder ended.

In the mirror of a remote home a lock is also a lease in the store, for the other machines
(`store.remote.protocol.leases`).
"""

from __future__ import annotations

import fcntl
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from store.errors import BusyError
from store.remote import mirror

HELD = "RADALIGN_LOCKS_HELD"  # what `held` returns, in the environment
POLL_SECONDS = 0.2

Log = Callable[[str], object]


@contextmanager
def holding(path: Path, what: str, log: Log = lambda _: None, wait: bool = True) -> Iterator[None]:
    """Hold the lock `path` for the time of the block; while another process holds it, say so and wait.

    A lock that this process or one that started it holds is not taken again. `what` says what the holder does, as in
    "writes the tables of phantom".

    Raises:
        BusyError: another process holds it, and `wait` is false.
        LeaseLostError: at the end of the block, where another machine has taken the lease over.
    """
    name = os.path.realpath(path)
    if name in held() or _holds_lease(path):
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    busy = f"Another run {what}"
    with path.open("a") as file:
        _take(file.fileno(), busy, log, wait)
        with lease_of(path, busy, log, math.inf if wait else 0), _saying(name):
            yield


@contextmanager
def lease_of(path: Path, busy: str, log: Log = lambda _: None, patience: float = math.inf) -> Iterator[None]:
    """In the mirror of a remote home, hold the lease of the lock `path`, which this process has; elsewhere do nothing.

    `busy` is what is said of a holder on another machine, as in "Another run trains". The files that the lock guards
    are in the mirror then as the holder before has published them.

    Raises:
        BusyError: another machine holds it for more than `patience` seconds.
        LeaseLostError: at the end of the block, where another machine has taken it over.
    """
    if mirror.lock_name(path) is None or _holds_lease(path):
        yield
        return
    with mirror.leasing(path, busy, log, patience) as lease, _saying(lease):
        yield


def _holds_lease(path: Path) -> bool:
    """Whether this process or one that started it, maybe on another machine, holds the lease of a lock."""
    lease = mirror.lock_name(path)
    return lease is not None and any(other.startswith(lease) for other in held())


@contextmanager
def _saying(name: str) -> Iterator[None]:
    """Tell the processes that are started in the block that they need not take a lock again."""
    _say_held([*held(), name])
    try:
        yield
    finally:
        _say_held([other for other in held() if other != name])


def _take(descriptor: int, busy: str, log: Log, wait: bool) -> None:
    said = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise BusyError(f"{busy}; try again when it has ended.") from None
            if not said:
                log(f"{busy}; waiting for it to end.")
            said = True
            time.sleep(POLL_SECONDS)
        else:
            return


def _say_held(names: Sequence[str]) -> None:
    """Tell this process and its children what is held; nothing is left in the environment where that is nothing."""
    if names:
        os.environ[HELD] = os.pathsep.join(name.replace("%", "%25").replace(os.pathsep, "%3A") for name in names)
    else:
        os.environ.pop(HELD, None)


def held() -> list[str]:
    """Locks and leases of this process and its parents, which these processes need not take again."""
    return [unquote(name) for name in os.environ.get(HELD, "").split(os.pathsep) if name]
