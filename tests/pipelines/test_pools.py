"""The literal command on two datasets: each is ingested, one network is trained, and it is tested on each of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest
import yaml

from assets.evaluated import TASKS_TAG
from assets.workspace import PARTITION
from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.simulated import simulate_studies
from evaluation.leakage.datasets import check_leakage
from evaluation.results.latest import join_pretrainings, latest_by_pretraining
from ingestion.pipeline import choose_datasets
from ingestion.versions import pinned_state
from ingestion.workspace import Workspace
from models.run_files import CARD
from pipelines.executors.writers import _steps_by_dataset as steps_by_dataset
from pipelines.specs import partition_names
from radalign.command.cleaning import clean
from shards.pool import Pool
from tests.pipelines.instances import history

CHECKOUT = Path(__file__).resolve().parents[2]
PATIENCE = 300  # seconds for the command
NAME = "mimic_cxr+open_i"
MEMBERS = ("mimic_cxr", "open_i")
NETWORK = {"image_encoder": "resnet18", "output_stride": 32, "width": 16, "layers": 1}
TRAINING = {"max_steps": 2, "batch_size": 8, "warmup_epochs": 0.0, "log_every": 1, "threads": 1}
WEIGHTS = {"mimic_cxr": 3, "open_i": 1}
pytestmark = pytest.mark.filterwarnings("ignore:::pydicom")


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The same studies in two layouts, half of them in the second."""
    folder = tmp_path_factory.mktemp("archives")
    studies = simulate_studies(PhantomConfig(studies=32, height=96), 32)
    layout_writer("mimic_cxr_jpg")(folder / "mimic_cxr", studies)
    layout_writer("open_i")(folder / "open_i", studies[:16])
    with pytest.MonkeyPatch.context() as patch:
        for name in MEMBERS:
            patch.setenv(f"RADALIGN_{name.upper()}_ROOT", str(folder / name))
        patch.setenv("RADALIGN_COHORT", "open_i+mimic_cxr")
        yield folder


@pytest.fixture(scope="module")
def place(archives, tmp_path_factory):
    return Workspace(home=str(tmp_path_factory.mktemp("home")), preset="demo")


@pytest.fixture(scope="module")
def run(place, archives, tmp_path_factory):
    """The history, and the run of the literal command with one task."""
    folder = tmp_path_factory.mktemp("history")
    shutil.copy(CHECKOUT / "dagster.yaml", folder)
    training = {"method_config": NETWORK, **TRAINING, "weights": WEIGHTS}
    config = {
        "ops": {"images": {"config": {"size": 64}}, "pretrained__medklip": {"config": training}},
        "resources": {"workspace": {"config": {"preset": "demo"}}},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    job = ["-m", "pipelines.definitions", "-j", "pretrain_medklip", "-c", str(folder / "run.yaml")]
    tags = json.dumps({TASKS_TAG: "zero_shot_classification"})
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "job", "execute", *job, "--tags", tags],
        cwd=CHECKOUT,
        env={**os.environ, "DAGSTER_HOME": str(folder), "RADALIGN_HOME": place.home, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    with history(folder, place.home_path()) as instance:
        (found,) = instance.get_runs()
        yield instance, found


def metadata(run, *key):
    event = run[0].get_latest_materialization_event(dg.AssetKey(key))
    assert event.asset_materialization.partition == NAME
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def test_every_member_is_ingested_and_pooled(run, place):
    pool = Pool.load(place.folder("shards"))
    assert [member.cohort for member in pool.members] == list(MEMBERS)
    found = metadata(run, "shards")
    assert found["data_version"] == pool.digest
    assert found["dagster/row_count"] == sum(sum(member.rows.values()) for member in pool.members)
    assert {name: found[f"{name}: data_version"] for name in MEMBERS} == pool.data_versions
    assert pinned_state(place, run[1].run_id)["version"] == found["version"]
    assert metadata(run, "images")["computed"] == 2


def test_lineage_names_all_archives(run, place):
    import mlflow

    versions = Pool.load(place.folder("shards")).data_versions
    found = metadata(run, "pretrained", "medklip")
    assert found["cohort"] == run[1].tags["radalign/cohort"] == run[1].tags[PARTITION] == NAME
    for name, version in versions.items():
        assert f"| {name} | {version} |".replace("_", "\\_") in found["trained on"].replace("\\_", "_").replace(
            "_", "\\_"
        )
    (folder,) = place.home_path().glob("checkpoints/medklip/*/result.json")
    card = json.loads((folder.parent / CARD).read_text())
    assert {name: about["data_version"] for name, about in card["trained_on"].items()} == versions
    assert any(about["left_out"] for about in card["trained_on"].values())
    client = mlflow.MlflowClient(f"sqlite:///{place.home_path()}/mlflow.db")
    tags = client.get_run(found["mlflow_run"]).data.tags
    assert {name: tags[f"radalign.data_version.{name}"] for name in MEMBERS} == versions
    assert client.get_registered_model(f"medklip-{NAME}").name == f"medklip-{NAME}"


def test_the_network_is_tested_on_each_member(run, place):
    assert metadata(run, "evaluated", "medklip")["cohort"] == NAME
    rows = join_pretrainings(latest_by_pretraining(place)).to_pylist()
    assert {(row["pretraining"], row["cohort"]) for row in rows} == {(NAME, name) for name in MEMBERS}
    assert not any("outdated" in row["note"] for row in rows)
    studies = {name: pq.read_table(place.home_path() / name / "studies" / "studies.parquet") for name in MEMBERS}
    tested = {row["cohort"]: row["n"] for row in rows if row["class"] == "macro" and row["n"]}
    assert all(count <= studies[name]["split"].to_pylist().count("test") for name, count in tested.items())


def test_leakage_knows_all_members(run, place):
    leaks = check_leakage(replace(place, version=""), [], print)
    crossing = [leak for leak in leaks if leak.seen.split(" ")[0] != leak.tested.split(" ")[0]]
    assert {(leak.seen, leak.tested) for leak in crossing} == {
        ("mimic_cxr (train, validate)", "open_i (test)"),
        ("open_i (train, validate)", "mimic_cxr (test)"),
    }
    assert not any(leak.count for leak in crossing)


def test_members_are_no_downstream_datasets(run, place):
    assert not set(choose_datasets(place, (), {})) & set(MEMBERS)


def test_cleaning_keeps_what_the_pool_refers_to(run, place):
    before = Pool.load(place.folder("shards"))
    clean(place.home_path(), False, print)
    assert Pool.load(place.folder("shards"), verify=True) == before


def test_the_run_holds_the_pool_and_its_members(place):
    class Handle:
        def to_key(self):
            return "shards.collect_shards"

    class Plan:
        step_handles_to_execute = (Handle(),)

    assert steps_by_dataset(place, Plan()).keys() == {NAME, *MEMBERS}


def test_a_pool_is_a_partition(archives, monkeypatch):
    assert NAME in partition_names()
    monkeypatch.setenv("RADALIGN_COHORT", "mimic_cxr+open_ii")
    assert "mimic_cxr+open_ii" not in partition_names()
