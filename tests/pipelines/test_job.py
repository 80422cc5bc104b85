"""The literal command, in a shell with nothing in its environment, on a simulated archive of a few studies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import dagster as dg
import duckdb
import pydicom
import pytest
import yaml

from tests.pipelines.instances import history

CHECKOUT = Path(__file__).resolve().parents[2]
COMMAND = "dagster job execute -j {job} -c run.yaml"
STAGES = ("images", "reports", "triplets", "shards")
PATIENCE = 300  # seconds for one command


class Place:
    """A checkout of its own as far as Dagster can tell: its own history, its own home, our environment."""

    def __init__(self, folder):
        self.folder = folder
        self.home = folder / "var"
        self.processes = []
        (folder / ".venv").symlink_to(CHECKOUT / ".venv")
        for name in ("activate", "dagster.yaml"):
            shutil.copy(CHECKOUT / name, folder / name)

    def start(self, studies, steps=3, job="pretrain_medklip", **training):
        network = {"image_encoder": "resnet18", "output_stride": 32, "width": 16, "layers": 1}
        pretrained = {"max_steps": steps, "batch_size": 8, "warmup_epochs": 0.0, "log_every": 1}
        ops = {
            "archive": {"config": {"studies": studies, "height": 96}},
            "inventory": {"config": {"batch_size": 20}},
            "images": {"config": {"size": 64}},
            "pretrained__medklip": {"config": {**pretrained, **training, "method_config": network}},
        }
        wanted = ops if job.startswith("pretrain") else {name: ops[name] for name in list(ops)[:3]}
        (self.folder / "run.yaml").write_text(yaml.safe_dump({"ops": wanted}))
        process = subprocess.Popen(
            ["bash", "-c", f". ./activate && exec {COMMAND.format(job=job)}"],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "RADALIGN_HOME": str(self.home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.append(process)
        return process

    def stop(self):
        """Leave nothing behind, whatever failed."""
        for process in self.processes:
            process.kill()
            process.communicate()

    def run(self, studies, **options):
        process = self.start(studies, **options)
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, output[-4000:]

    def metadata(self, *key):
        """Metadata of the latest materialization, as plain values."""
        with history(self.folder, self.home) as instance:
            event = instance.get_latest_materialization_event(dg.AssetKey(key))
        return {name: value.value for name, value in event.asset_materialization.metadata.items()}

    def computed(self):
        return {stage: self.metadata(stage)["computed"] for stage in STAGES}

    def count(self, sql):
        return duckdb.execute(sql.format(home=self.home / "phantom")).fetchone()[0]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One run from nothing; the tests below go on from there, in their order."""
    place = Place(tmp_path_factory.mktemp("checkout"))
    try:
        place.run(40)
        yield place
    finally:
        place.stop()


def test_everything_is_there_after_one_command(place):
    assert place.computed() == dict.fromkeys(STAGES, 2)
    assert place.metadata("pretrained", "medklip")["trained"] is True
    rows = place.count(
        "select (select count(*) from '{home}/studies/studies.parquet') "
        "+ (select count(*) from '{home}/rejects/rejects.parquet')"
    )
    assert rows == place.metadata("inventory")["source_rows"] == 40
    measured = f"from '{place.home}/results/*.parquet' where source = 'measured'"
    methods = duckdb.execute(f"select distinct method {measured}").fetchall()
    assert set(methods) == {("medklip",), ("untrained:medklip",)}
    assert "first images" in place.metadata("images")


def test_the_training_is_in_mlflow(place):
    from tracking import tracker as tracking

    tracker = tracking.attach(place.home, place.metadata("pretrained", "medklip")["mlflow_run"])
    run = tracker.client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["setting.data_version"] == place.metadata("shards")["data_version"]
    assert run.data.tags["dagster.run_id"]
    steps = [metric.step for metric in tracker.client.get_metric_history(tracker.run_id, "loss/train")]
    assert steps == [1, 2, 3]
    assert any(name.startswith("zero_shot_classification/auroc/") for name in tracker.numbers())
    assert "results/auroc_zero_shot" in run.data.metrics


def test_a_second_command_computes_nothing(place):
    version = place.metadata("shards")["data_version"]
    place.run(40)
    assert place.metadata("archive")["computed"] == 0
    assert place.computed() == dict.fromkeys(STAGES, 0)
    assert place.metadata("pretrained", "medklip")["trained"] is False
    assert place.metadata("shards")["data_version"] == version


def test_five_new_studies_cost_only_their_batch(place):
    place.run(45, job="ingest")
    assert place.metadata("inventory")["dagster/row_count"] == 45
    assert place.computed() == dict.fromkeys(STAGES, 1)


def test_what_cannot_be_used_is_rejected_with_its_reason(place):
    """Six studies of the archive are spoilt, each in its way; the run goes on and the counts add up."""
    archive = place.home / "phantom" / "archive"
    usable = f"select study_id, image_path, report_path from '{place.home}/phantom/studies/studies.parquet' order by 1"
    studies = duckdb.execute(usable).fetchall()[:6]
    images = [archive / image for _, image, _ in studies]
    reports = [archive / report for _, _, report in studies]
    images[0].write_bytes(images[0].read_bytes()[:-2000])
    image = pydicom.dcmread(images[1])
    del image.PixelData
    image.save_as(images[1])
    images[2].write_text("This is a letter, not a radiograph.\n")
    images[3].unlink()
    reports[4].write_text(" \n")
    reports[5].write_text(" FINAL REPORT\n \n IMPRESSION:  No acute cardiopulmonary process.\n")
    place.run(45, job="ingest")
    rejects = duckdb.execute(f"select study_id, reason from '{place.home}/phantom/rejects/rejects.parquet'").fetchall()
    reasons = ("truncated_dicom", "no_pixels", "not_an_image", "missing_file", "empty_report", "no_findings")
    expected = {(study, reason) for (study, _, _), reason in zip(studies, reasons, strict=True)}
    assert expected <= set(rejects)
    assert place.count("select count(*) from '{home}/studies/studies.parquet'") == 45 - len(rejects)


def test_a_run_killed_while_training_resumes(place):
    """kill -9 of the run takes its trainer with it; the same command goes on from the last checkpoint."""
    options = {"steps": 40, "checkpoint_every": 2, "learning_rate": 2e-4}
    process = place.start(45, **options)
    before = set((place.home / "checkpoints" / "medklip").glob("*/"))
    run = wait_for(lambda: new_checkpoint(place, before), process)
    trainer = trainer_of(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: not Path(f"/proc/{trainer}").exists(), None)
    assert not (run / "result.json").exists()
    place.run(45, **options)
    result = json.loads((run / "result.json").read_text())
    assert result["steps"] == 40
    assert result["resumed_from"] > 0


def test_a_killed_trainer_is_taken_up_again_by_its_run(place):
    options = {"steps": 40, "checkpoint_every": 2, "learning_rate": 3e-4}
    before = set((place.home / "checkpoints" / "medklip").glob("*/"))
    process = place.start(45, **options)
    run = wait_for(lambda: new_checkpoint(place, before), process)
    os.kill(trainer_of(process.pid), signal.SIGKILL)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output[-4000:]
    assert json.loads((run / "result.json").read_text())["resumed_from"] > 0


def new_checkpoint(place, before):
    runs = set((place.home / "checkpoints" / "medklip").glob("*/")) - before
    return next((run for run in runs if list(run.glob("checkpoints/step-*[0-9]"))), None)


def trainer_of(parent):
    """Process id of the child that trains."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().split(b"\0")
            ancestor = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if ancestor == parent and b"training" in command:
            return int(path.name)
    raise AssertionError("nobody is training")


def wait_for(condition, process):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        assert process is None or process.poll() is None, process.stdout.read()[-4000:]
        time.sleep(0.1)
    raise AssertionError("waited in vain")
