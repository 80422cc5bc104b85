"""Whether a process still lives."""

from __future__ import annotations

import os
import subprocess
import time

from store.processes import process_lives


def test_a_process_is_known_by_its_start():
    now = time.time()
    assert process_lives(os.getpid(), now)
    assert not process_lives(os.getpid(), now - 10_000_000)  # somebody else had this id then
    child = subprocess.Popen(["true"])
    time.sleep(0.2)
    assert not process_lives(child.pid, now + 1)  # dead, though nobody has asked how it ended
    child.wait()
    assert not process_lives(child.pid, now + 1)
