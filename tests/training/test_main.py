"""`python -m training` as it is typed."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from training.checkpoint import complete_checkpoints

ROOT = Path(__file__).resolve().parents[2]


def launch(path: Path, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "training", str(path)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, **options)


def test_kill_and_the_same_command_again(config, tmp_path):
    config = replace(config, max_steps=400, checkpoint_every=5)
    config.save(tmp_path / "request.json")
    child = launch(tmp_path / "request.json")
    deadline = time.monotonic() + 120
    while not complete_checkpoints(Path(config.output)):
        assert time.monotonic() < deadline, "no checkpoint in time"
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not (Path(config.output) / "result.json").exists()
    second = launch(tmp_path / "request.json")
    assert second.wait(300) == 0, second.stderr.read()
    result = json.loads((Path(config.output) / "result.json").read_text())
    assert result["resumed_from"] > 0
    assert result["steps"] == 400


def test_mistakes_are_one_sentence(tmp_path):
    child = launch(tmp_path / "nothing.json")
    _, message = child.communicate(timeout=120)
    assert child.returncode == 1
    assert message.count("\n") == 1
    assert "does not exist" in message


def test_two_trainers_never_share_a_folder(config, tmp_path):
    import fcntl

    config.save(tmp_path / "request.json")
    Path(config.output).mkdir(parents=True)
    with (Path(config.output) / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        child = launch(tmp_path / "request.json")
        _, message = child.communicate(timeout=120)
    assert child.returncode == 1
    assert "another process is training" in message
