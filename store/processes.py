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
CLOCK_SLACK = 2.0  # seconds; the start of a process is known to a hundredth, that of the machine to a second


def process_lives(pid: int, at: float) -> bool:
    """Whether the process that had this id at a Unix time is still there: ids are given again."""
    try:
        state, *fields = (PROCESSES / str(pid) / "stat").read_text().rpartition(")")[2].split()
        booted = next(line for line in (PROCESSES / "stat").read_text().splitlines() if line.startswith("btime"))
    except OSError:
        return False
    started = int(booted.split()[1]) + int(fields[18]) / os.sysconf("SC_CLK_TCK")  # proc_pid_stat(5), field 22
    return state != "Z" and started <= at + CLOCK_SLACK


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
