"""Whether a process still lives."""

from __future__ import annotations

import os
import subprocess
import time

from store.processes import process_lives, process_start


def test_a_process_is_known_by_its_start():
    now = time.time()
    assert process_lives(os.getpid(), now)
    assert not process_lives(os.getpid(), now - 10_000_000)  # somebody else had this id then
    child = subprocess.Popen(["true"])
    time.sleep(0.2)
    assert not process_lives(child.pid, now + 1)  # dead, though nobody has asked how it ended
    assert process_start(child.pid) is None
    child.wait()
    assert not process_lives(child.pid, now + 1)


def test_a_start_is_the_same_whatever_clock_is_set():
    before = process_start(os.getpid())
    time.sleep(0.05)
    assert process_start(os.getpid()) == before
    with subprocess.Popen(["sleep", "9"]) as later:
        assert process_start(later.pid) > before
        later.kill()
    assert process_start(2**30) is None


def test_a_clock_that_was_set_a_little_ends_no_process():
    assert process_lives(os.getpid(), time.time() - 30)  # by a clock that was 30 s behind, at its start
