"""`python -m training` as it is typed; what goes on after it was stopped does so in the process of the test."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from store.code import ROOT
from training.__main__ import main
from training.errors import PARENT
from training.state.checkpoint import complete_checkpoints


def launch(path: Path, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "training", str(path)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, **options)


def test_kill_and_the_same_command_again(config, tmp_path):
    config = replace(config, max_steps=120, checkpoint_every=5)
    config.save(tmp_path / "request.json")
    child = launch(tmp_path / "request.json")
    deadline = time.monotonic() + 120
    while not complete_checkpoints(Path(config.output)):
        assert time.monotonic() < deadline, "no checkpoint in time"
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not (Path(config.output) / "result.json").exists()
    assert main([str(tmp_path / "request.json")]) == 0
    result = json.loads((Path(config.output) / "result.json").read_text())
    assert result["resumed_from"] > 0
    assert result["steps"] == 120


def test_mistakes_are_one_sentence(tmp_path):
    child = launch(tmp_path / "nothing.json")
    _, message = child.communicate(timeout=120)
    assert child.returncode == 1
    assert message.count("\n") == 1
    assert "does not exist" in message


def test_a_trainer_whose_launcher_died_while_it_started_does_nothing(config, tmp_path):
    config.save(tmp_path / "request.json")
    dead = subprocess.Popen(["true"])
    dead.wait()
    launched = {**os.environ, "DAGSTER_PIPES_CONTEXT": "x", PARENT: str(dead.pid)}
    child = launch(tmp_path / "request.json", env=launched)
    _, message = child.communicate(timeout=120)
    assert (child.returncode, message) == (-signal.SIGKILL, "")
    assert not Path(config.output).exists()


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


def test_sigterm_writes_a_checkpoint_and_the_same_command_goes_on(config, tmp_path):
    config = replace(config, max_steps=100, checkpoint_every=1000, log_every=1)
    config.save(tmp_path / "request.json")
    output = Path(config.output)
    child = launch(tmp_path / "request.json")
    wait_for_line(output)
    child.terminate()
    _, message = child.communicate(timeout=120)
    assert child.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM after step" in message
    assert len(complete_checkpoints(output)) == 1
    assert not (output / "failure.txt").exists()
    assert main([str(tmp_path / "request.json")]) == 0
    assert json.loads((output / "result.json").read_text())["resumed_from"] > 0


def test_a_mistake_leaves_its_sentence_for_whoever_launched_it(config, tmp_path):
    replace(config, batch_size=4096).save(tmp_path / "request.json")
    child = launch(tmp_path / "request.json")
    _, message = child.communicate(timeout=120)
    sentence = (Path(config.output) / "failure.txt").read_text()
    assert child.returncode == 1
    assert message == f"training: {sentence}"
    assert sentence.count("\n") == 1


def test_no_process_of_torchrun_outlives_it(config, tmp_path):
    """`kill -9` of torchrun itself, whose ranks nobody tells."""
    config = replace(config, max_steps=2000, checkpoint_every=1000, log_every=1)
    config.save(tmp_path / "request.json")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [*torchrun, "-m", "training", str(tmp_path / "request.json")], cwd=ROOT, env=environment,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    ranks = []
    try:
        wait_for_line(Path(config.output))
        ranks = children(child.pid)
        assert len(ranks) == 2
    finally:
        child.kill()
        child.wait()
    deadline = time.monotonic() + 15
    while alive := [rank for rank in ranks if Path(f"/proc/{rank}").exists()]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


def children(parent: int) -> list[int]:
    """torchrun gives every rank a session of its own."""
    stats = {int(path.parent.name): path.read_text() for path in Path("/proc").glob("[0-9]*/stat")}
    return [pid for pid, stat in stats.items() if int(stat.rpartition(")")[2].split()[1]) == parent]


def wait_for_line(output: Path) -> None:
    deadline = time.monotonic() + 120
    path = output / "metrics.jsonl"
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline, "no step in time"
        time.sleep(0.05)
