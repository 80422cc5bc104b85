"""Says that a long step goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

EVERY = 5.0  # seconds
Log = Callable[[str], object]


@contextmanager
def reporting(log: Log, step: str) -> Iterator[None]:
    """Log a step, and from time to time for how long it has been going on."""
    log(f"{step}.")
    began, done = time.monotonic(), Event()

    def report() -> None:
        while not done.wait(EVERY):
            log(f"{step}: {time.monotonic() - began:.0f} s so far.")

    thread = Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
