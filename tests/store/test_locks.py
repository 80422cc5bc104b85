"""One process at a time; its children do not wait for it; a killed holder holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from store.errors import BusyError
from store.locks import HELD, holding

HOLD = """
import sys, time
from pathlib import Path
from store.locks import holding
with holding(Path(sys.argv[1]), "works"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def hold(path: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(path), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_another_process_waits_and_says_so(tmp_path: Path) -> None:
    lines: list[str] = []
    with hold(tmp_path / "lock", 1.0), holding(tmp_path / "lock", "writes here", lines.append):
        assert HELD in os.environ
    assert lines == ["Another run writes here; waiting for it to end."]


def test_who_does_not_wait_gets_a_sentence(tmp_path: Path) -> None:
    with hold(tmp_path / "lock", 60) as process:
        with (
            pytest.raises(BusyError, match="Another run writes here; try again"),
            holding(tmp_path / "lock", "writes here", wait=False),
        ):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    with holding(tmp_path / "lock", "writes here", wait=False):  # nobody holds it any more
        pass


@pytest.mark.parametrize("name", ["lock", "2026-11-30T13:05/100%3A/lock"])
def test_the_holder_and_its_children_do_not_wait_for_themselves(tmp_path: Path, name: str) -> None:
    tmp_path = tmp_path / name
    begun = time.monotonic()
    with holding(tmp_path / "lock", "writes here"):
        with holding(tmp_path / "lock", "writes here", wait=False):
            pass
        hold(tmp_path / "lock", 0).wait()
    assert time.monotonic() - begun < 30
    assert str(tmp_path) not in os.environ.get(HELD, "")
    with hold(tmp_path / "lock", 0):
        pass
