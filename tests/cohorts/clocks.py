"""A limit on the time of a test that might wait for ever."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raise AssertionError where the block takes longer."""

    def give_up(*_: object) -> None:
        raise AssertionError(f"This took more than {seconds} s.")  # no OSError, which readers catch

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
