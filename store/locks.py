"""Locks between processes on one machine. The kernel frees a lock however its holder ended."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from store.errors import BusyError

HELD = "RADALIGN_LOCKS_HELD"  # locks of this process and its parents, which these processes need not take again
POLL_SECONDS = 0.2

Log = Callable[[str], object]


@contextmanager
def holding(path: Path, what: str, log: Log = lambda _: None, wait: bool = True) -> Iterator[None]:
    """Hold the lock `path` for the time of the block; while another process holds it, say so and wait.

    A lock that this process or one that started it holds is not taken again. `what` says what the holder does, as in
    "writes the tables of phantom".

    Raises:
        BusyError: another process holds it, and `wait` is false.
    """
    name, held = os.path.realpath(path), _held()
    if name in held:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        _take(file.fileno(), f"Another run {what}", log, wait)
        _say_held([*held, name])
        try:
            yield
        finally:
            _say_held([other for other in _held() if other != name])


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
        os.environ[HELD] = os.pathsep.join(names)
    else:
        os.environ.pop(HELD, None)


def _held() -> list[str]:
    return [name for name in os.environ.get(HELD, "").split(os.pathsep) if name]
