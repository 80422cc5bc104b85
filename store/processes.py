"""Processes of this machine, and a thread beside a block."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1  # linux/prctl.h
PROCESSES = Path("/proc")
CLOCK_SLACK = 60.0  # seconds by which the clock of this machine may be set while a process runs


def process_start(pid: int) -> int | None:
    """When a process started, in clock ticks since the machine did; None where it is gone.

    With its id it names a process, as ids are given again. No clock that can be set is in it.
    """
    try:
        state, *fields = (PROCESSES / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[18]) if state != "Z" else None  # proc_pid_stat(5), fields 3 and 22


def process_lives(pid: int, at: float) -> bool:
    """Whether the process that had this id at a Unix time is still there, where nothing else is known of it."""
    ticks = process_start(pid)
    if ticks is None:
        return False
    booted = next(line for line in (PROCESSES / "stat").read_text().splitlines() if line.startswith("btime"))
    return int(booted.split()[1]) + ticks / os.sysconf("SC_CLK_TCK") <= at + CLOCK_SLACK


def end_with_parent(number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent, or the thread of it that started this, ends.

    Safe between fork and exec.
    """
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, number)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, so that no orphan goes on.

    `parent` is the process that started this one. It may have died already, while this one was starting.
    """
    end_with_parent()
    if os.getppid() != parent:  # the parent died before the request
        os.kill(os.getpid(), signal.SIGKILL)


def return_memory() -> None:
    """Give memory that was freed back to the system. A large table that is gone leaves it in many small pieces."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    if hasattr(LIBC, "malloc_trim"):  # of glibc
        LIBC.malloc_trim(0)


@contextmanager
def beside(work: Callable[[], None], ended: threading.Event, name: str) -> Iterator[None]:
    """Run `work` in a thread while the block runs. At its end `ended` is set, and the thread is waited for."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
