"""`kill -9` of the trainer, of the step, of the run and of everything: nobody is left behind, Dagster and MLflow agree
about what died, and the next command goes on from the checkpoint. One story, because starting a run takes long."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
import yaml

from assets.workspace import WorkspaceResource
from benchmarks.kills import expect_nobody, session_members
from ingestion.workspace import Workspace
from pipelines.automation import SILENT_VARIABLE
from pipelines.automation import dead_runs as sensor
from shards.schema import shard_schema
from shards.writer import write_manifest, write_shard
from store import batches
from store.batches import Plan
from store.code import ROOT
from store.seals import write_sealed_table
from tests.pipelines.instances import history
from tests.training.conftest import ENTITIES, POSITIONS, SIZE, TINY, shard_rows
from tracking.store import connect

LEFT_AFTER = 15  # seconds
PATIENCE = 240
TRAIN = """
import dagster as dg
from pipelines import definitions
from pipelines.preflight import check
check.expect_network = lambda *_: None  # which imports torch, as only the trainer has to here
job = dg.define_asset_job("train", selection=dg.AssetSelection.assets(["pretrained", "medklip"]))
defs = dg.Definitions.merge(definitions.defs, dg.Definitions(jobs=[job]))
"""
SETTINGS = {
    "max_steps": 250, "batch_size": 8, "warmup_epochs": 0.0, "log_every": 1, "checkpoint_every": 5, "threads": 1,
    "precision": "fp32", "method_config": TINY,
}  # fmt: skip


class Place:
    """A home with shards to train on, and a history of runs of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "var"
        shutil.copy(ROOT / "dagster.yaml", folder)
        (folder / "train.py").write_text(TRAIN)
        workspace = Workspace(home=str(self.home), cohort="phantom")
        batches.commit(workspace.folder("inventory"), Plan((), {"has_reports": True}))
        shards = workspace.folder("shards")
        shards.mkdir(parents=True)
        write_shard(pa.Table.from_pylist(shard_rows(96), schema=shard_schema(SIZE)), shards / "a.parquet")
        write_manifest(shards, [shards / "a.parquet"], ENTITIES, POSITIONS, SIZE, "phantom")
        names = [("entity", name) for name in ENTITIES] + [("position", name) for name in POSITIONS]
        rows = [{"kind": kind, "name": name, "description": f"{name} on an image"} for kind, name in names]
        write_sealed_table(pa.Table.from_pylist(rows), workspace.folder("knowledge") / "knowledge.parquet")

    def start(self, seed: int, executor: str) -> Run:
        config = {
            "ops": {"pretrained__medklip": {"config": {**SETTINGS, "seed": seed}}},
            "execution": {"config": {executor: {}}},
            "resources": {"workspace": {"config": {"home": str(self.home), "cohort": "phantom"}}},
        }
        (self.folder / "run.yaml").write_text(yaml.safe_dump(config))
        with (self.folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dagster", "job", "execute", "-f", "train.py", "-j", "train", "-c", "run.yaml"],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RADALIGN_HOME": str(self.home)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Run(self, process)

    @contextlib.contextmanager
    def instance(self):
        with history(self.folder, self.home) as instance:
            yield instance

    def sensor(self) -> str:
        """What the sensor of dead runs says, with no patience."""
        with self.instance() as instance, pytest.MonkeyPatch.context() as patch:
            patch.setenv(SILENT_VARIABLE, "0.0001")
            resources = {"workspace": WorkspaceResource(home=str(self.home))}
            with dg.build_sensor_context(instance=instance, resources=resources) as context:
                return sensor(context).skip_message

    def statuses(self) -> tuple[list[str], list[str]]:
        """Of the runs in Dagster and in MLflow, the oldest first."""
        with self.instance() as instance:
            dagster = [run.status.value for run in reversed(instance.get_runs())]
        client, experiment = connect(self.home)
        found = client.search_runs([experiment], order_by=["attributes.start_time ASC"])
        return dagster, [run.info.status for run in found]


class Run:
    """A command that runs, and its processes."""

    def __init__(self, place: Place, process: subprocess.Popen) -> None:
        self.place, self.process = place, process

    def trainer(self) -> int:
        """The trainer, once it has written one checkpoint more than there was."""
        before = self.last_checkpoint()
        wait_for(lambda: self.last_checkpoint() > before, self)
        for pid in session_members(self.process.pid):
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1:3] == [b"-m", b"training"]:
                return pid
        raise AssertionError("nobody is training")

    def last_checkpoint(self) -> float:
        found = self.place.home.glob("checkpoints/medklip/*/checkpoints/step-*[0-9]")
        return max((path.stat().st_ctime for path in found), default=0.0)

    def last_step(self) -> int:
        """Of the latest checkpoint."""
        found = self.place.home.glob("checkpoints/medklip/*/checkpoints/step-*[0-9]")
        return int(max(found, key=lambda path: path.stat().st_ctime).name.rpartition("-")[2])

    def gone(self) -> None:
        self.process.wait(PATIENCE)
        expect_nobody(self.process.pid, LEFT_AFTER)

    def log(self) -> str:
        return (self.place.folder / "log.txt").read_text(errors="replace")[-6000:]


def kill(*processes: int) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def wait_for(condition, run: Run):
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        assert run.process.poll() is None, run.log()
        time.sleep(0.05)
    return found


@pytest.fixture
def place(tmp_path):
    place, started = Place(tmp_path), []
    start = place.start
    place.start = lambda *options: started.append(start(*options)) or started[-1]
    yield place
    for run in started:
        kill(*session_members(run.process.pid))
        run.process.wait()


def test_whatever_is_killed_the_next_command_goes_on(place):
    # a run of one process, whose trainer follows it
    run = place.start(1, "in_process")
    assert parent_of(run.trainer()) == run.process.pid
    kill(run.process.pid)
    run.gone()
    assert place.statuses() == (["STARTED"], ["RUNNING"])  # nobody was left to say otherwise

    # the run, whose step and trainer follow it
    run = place.start(2, "multiprocess")
    assert parent_of(run.trainer()) != run.process.pid
    assert place.statuses() == (["FAILURE", "STARTED"], ["FAILED", "RUNNING"])
    kill(run.process.pid)
    run.gone()
    assert "marked as ended" in place.sensor()
    assert place.statuses() == (["FAILURE", "FAILURE"], ["FAILED", "FAILED"])

    # the step: its run says so, and the sensor brings MLflow in line
    run = place.start(2, "multiprocess")
    kill(parent_of(run.trainer()))
    run.gone()
    place.sensor()
    assert place.statuses() == (["FAILURE"] * 3, ["FAILED", "FAILED"])

    # somebody's wish: the trainer writes a checkpoint, and nothing is tried again (a command that is interrupted has
    # failed in Dagster's words, one that is terminated in the UI is canceled)
    run = place.start(2, "in_process")
    run.trainer()
    run.process.terminate()
    run.gone()
    assert place.statuses() == (["FAILURE"] * 4, ["FAILED", "KILLED"])

    # the same command again, and then the trainer, which its run starts again
    run = place.start(2, "in_process")
    kill(run.trainer())
    kept = run.last_step()
    assert parent_of(run.trainer()) == run.process.pid
    assert run.process.wait(PATIENCE) == 0, run.log()
    assert place.statuses() == (["FAILURE"] * 4 + ["SUCCESS"], ["FAILED", "FINISHED"])
    (result,) = place.home.glob("checkpoints/medklip/*/result.json")
    assert json.loads(result.read_text())["resumed_from"] >= kept > 0
