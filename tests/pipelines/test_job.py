"""The literal command, in a shell with nothing in its environment, on a simulated archive of a few studies.

What is killed is in test_dead_runs.py and test_kills.py.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import dagster as dg
import duckdb
import pydicom
import pytest
import yaml
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from pipelines.definitions import defs
from tests.pipelines.instances import history

GRAPH = defs.resolve_asset_graph()
CHECKOUT = Path(__file__).resolve().parents[2]
COMMAND = "dagster job execute -j pretrain_medklip -c run.yaml"
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # see tests/conftest.py
STAGES = ("images", "reports", "triplets", "shards")
PATIENCE = 300  # seconds for one command
BRIEF = {"fine_tune": {"maximum_steps": 1}, "segmentation": {"maximum_steps": 1}, "detection": {"maximum_steps": 1}}


class Place:
    """A checkout of its own as far as Dagster can tell: its own history, its own home, our environment."""

    def __init__(self, folder):
        self.folder = folder
        self.home = folder / "var"
        (folder / ".venv").symlink_to(CHECKOUT / ".venv")
        for name in ("activate", "dagster.yaml"):
            shutil.copy(CHECKOUT / name, folder / name)

    def run(self, studies):
        """The command as a user gives it."""
        (self.folder / "run.yaml").write_text(yaml.safe_dump(self.config(studies, pretrain=True)))
        done = subprocess.run(
            ["bash", "-c", f". ./activate && exec {COMMAND}"],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "RADALIGN_HOME": str(self.home), **ONE_THREAD},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:]
        self.output = done.stdout

    def ingest(self, studies):
        """The job `ingest` in the same home and history, without the start of a process."""
        with history(self.folder, self.home) as instance:
            config = self.config(studies, pretrain=False)
            config["resources"] = {"workspace": {"config": {"home": str(self.home), "cohort": "phantom"}}}
            job = defs.resolve_job_def("ingest")
            assert job.execute_in_process(run_config=config, instance=instance, partition_key="phantom").success

    def config(self, studies, pretrain):
        ops = {
            "archive": {"config": {"studies": studies, "height": 96}},
            "inventory": {"config": {"batch_size": 20}},
            "images": {"config": {"size": 64}},
        }
        if not pretrain:
            return {"ops": ops}
        network = {"image_encoder": "resnet18", "output_stride": 32, "width": 16, "layers": 1}
        training = {"max_steps": 3, "batch_size": 8, "warmup_epochs": 0.0, "log_every": 1, "threads": 1}
        ops["pretrained__medklip"] = {"config": {**training, "method_config": network}}
        return {"ops": ops, "resources": {"evaluation": {"config": BRIEF}}}

    def metadata(self, *key):
        """Metadata of the latest materialization, as plain values."""
        with history(self.folder, self.home) as instance:
            event = instance.get_latest_materialization_event(dg.AssetKey(key))
        return {name: value.value for name, value in event.asset_materialization.metadata.items()}

    def statuses(self):
        """Whether the datasets' own assets are in step with what they were made from, as Dagster's pages say it."""
        with history(self.folder, self.home) as instance:
            resolver = CachingStaleStatusResolver(instance, GRAPH, LoadingContextForTest(instance))
            job = defs.resolve_job_def("pretrain_medklip")
            return {
                (key.to_user_string(), partition): resolver.get_status(key, partition).value
                for key in job.asset_layer.executable_asset_keys
                for partition in sorted(instance.get_materialized_partitions(key))
            }

    def tags(self):
        """Of the run that came first."""
        with history(self.folder, self.home) as instance:
            return instance.get_runs()[-1].tags

    def computed(self):
        return {stage: self.metadata(stage)["computed"] for stage in STAGES}

    def count(self, sql):
        return duckdb.execute(sql.format(home=self.home / "phantom")).fetchone()[0]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One run from nothing; the tests below go on from there, in their order."""
    place = Place(tmp_path_factory.mktemp("checkout"))
    place.run(40)
    return place


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
    assert "some images" in place.metadata("images")


def test_nothing_warns_of_the_command_itself(place):
    assert "Supersession" not in place.output


def test_the_run_is_listed_under_its_job(place):
    """Dagster's page of the job asks for runs with this tag: repository and code location of workspace.yaml."""
    (location,) = yaml.safe_load((CHECKOUT / "workspace.yaml").read_text())["load_from"]
    tags = place.tags()
    name = defs.get_repository_def().name
    assert tags[".dagster/repository"] == f"{name}@{location['python_module']['location_name']}"
    assert (tags["radalign/cohort"], tags["dagster/partition"]) == ("phantom", "phantom")


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
    checkpoint = place.metadata("pretrained", "medklip")["checkpoint_digest"]
    best = tracker.client.get_model_version_by_alias("medklip-phantom", "best")
    assert (best.run_id, best.tags["radalign.checkpoint"]) == (run.info.run_id, checkpoint)


def test_a_second_command_computes_nothing(place):
    version = place.metadata("shards")["data_version"]
    place.run(40)
    assert place.metadata("archive")["computed"] == 0
    assert place.computed() == dict.fromkeys(STAGES, 0)
    assert place.metadata("pretrained", "medklip")["trained"] is False
    assert place.metadata("shards")["data_version"] == version


def test_the_history_is_of_this_dataset_and_in_step(place):
    statuses = place.statuses()
    assert {partition for _, partition in statuses} == {"phantom"}
    assert {name for name, _ in statuses} == {
        *("archive", "inventory", "images", "reports", "triplets", "knowledge", "studies", "rejects", "subsets"),
        *("shards", "pretrained/medklip", "evaluated/medklip"),
    }
    assert set(statuses.values()) == {"FRESH"}


def test_five_new_studies_cost_only_their_batch(place):
    place.ingest(45)
    assert place.metadata("inventory")["dagster/row_count"] == 45
    assert place.computed() == dict.fromkeys(STAGES, 1)
    statuses = {name: status for (name, _), status in place.statuses().items()}
    assert statuses["shards"] == statuses["studies"] == "FRESH"
    assert statuses["pretrained/medklip"] == "STALE"  # it has not seen the new studies


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
    place.ingest(45)
    rejects = duckdb.execute(f"select study_id, reason from '{place.home}/phantom/rejects/rejects.parquet'").fetchall()
    reasons = ("truncated_dicom", "no_pixels", "not_an_image", "missing_file", "empty_report", "no_findings")
    expected = {(study, reason) for (study, _, _), reason in zip(studies, reasons, strict=True)}
    assert expected <= set(rejects)
    assert place.count("select count(*) from '{home}/studies/studies.parquet'") == 45 - len(rejects)
