"""A run that is killed twice and completed leaves what an undisturbed one leaves: benchmarks/kills.py, in small."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import dagster as dg
import pytest

from benchmarks.homes import find_differences, list_files
from benchmarks.kills import Place, compare, expect_nobody, kill
from pipelines.definitions import defs
from store.code import ROOMS, ROOT
from tests.training.conftest import shard_rows, tiny_config, write_shards

WAITING = """

_save_at_once = save_checkpoint


def save_checkpoint(*state, **more):
    _save_at_once(*state, **more)
    __import__("time").sleep(0.5)  # so that there is time to kill it between two checkpoints
"""


def test_a_killed_run_completed_is_the_same_byte_for_byte(tmp_path):
    """Killed while images are decoded, and again while reports are parsed."""
    place, never, twice = Place(tmp_path, studies=30), tmp_path / "never", tmp_path / "twice"
    with dg.DagsterInstance.ephemeral() as instance:
        defs.resolve_job_def("ingest").execute_in_process(
            run_config=place.config(never), instance=instance, partition_key="phantom"
        )
    for stage in ("images", "triplets"):
        process = place.start(twice)
        while not list((twice / "phantom" / stage).glob("*.parquet")):
            assert process.poll() is None
            time.sleep(0.005)
        kill(process)
        assert not (twice / "phantom" / "shards").exists()
    place.complete(twice)
    wanted = {"inventory", "images", "reports", "triplets", "shards", "studies", "rejects"}
    assert wanted <= {name.split("/")[1] for name in list_files(never)}
    assert compare(never, twice) == []


def test_a_difference_and_a_survivor_are_found(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for home in (one, other):
        home.mkdir()
        (home / "a.parquet").write_bytes(home.name.encode())
    (other / "b.parquet").touch()
    (other / "c.parquet.17.partial").touch()
    assert find_differences(one, other) == ["a.parquet", "b.parquet"]
    assert compare(one, other) == ["a.parquet", "b.parquet"]
    survivor = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        with pytest.raises(SystemExit, match=str(survivor.pid)):
            expect_nobody(survivor.pid, patience=0.2)
    finally:
        os.kill(survivor.pid, signal.SIGKILL)
        survivor.wait()
    expect_nobody(survivor.pid)


def test_a_training_that_forgets_its_optimizer_is_found(tmp_path):
    """A fault planted in a copy of the product: a killed training goes on with an optimizer that knows nothing."""
    checkout, home, never = tmp_path / "checkout", tmp_path / "home", tmp_path / "never"
    copy_product(checkout)
    loading = checkout / "training" / "state" / "checkpoint.py"
    code = loading.read_text()
    restoring = "    optimizer.load_state_dict(state)\n"
    assert code.count(restoring) == 1
    loading.write_text(code.replace(restoring, "") + WAITING)
    tiny_config(write_shards(tmp_path / "shards", shard_rows(48)), home / "run").save(tmp_path / "request.json")
    assert train(checkout, tmp_path / "request.json").wait() == 0
    home.rename(never)
    process = train(checkout, tmp_path / "request.json")
    while not list(home.glob("run/checkpoints/step-*[0-9]")):
        assert process.poll() is None
        time.sleep(0.005)
    kill(process)
    assert not (home / "run" / "result.json").exists()
    assert train(checkout, tmp_path / "request.json").wait() == 0
    wrong = compare(never, home)
    assert "run/weights.safetensors" in wrong
    assert "run/untrained.safetensors" not in wrong


def train(checkout, request):
    """The trainer of a copy of the product, in a session of its own."""
    command = [sys.executable, "-m", "training", str(request)]
    return subprocess.Popen(command, cwd=checkout, start_new_session=True)


def copy_product(folder):
    """The packages of the product and what they read beside them."""
    folder.mkdir()
    for name in ("dagster.yaml", "configs", *ROOMS):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
