"""The job `ingest` on a simulated archive of every published layout: every row is accounted for."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pydicom
import pytest
from upath import UPath

from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_names, layout_writer
from cohorts.phantom.simulated import simulate_studies
from cohorts.registry import cohort_names
from ingestion.pipeline import IngestionSettings, update
from ingestion.stages.images import ImagesSettings
from ingestion.workspace import Workspace
from pipelines.automation import archive_digest
from pipelines.definitions import defs
from shards.reader import ShardReader

JOB = defs.resolve_job_def("ingest")
SIZE = 32
pytestmark = pytest.mark.filterwarnings("ignore:::pydicom")


@pytest.fixture(scope="module")
def few():
    return simulate_studies(PhantomConfig(studies=12, height=96), 12)


def ingest(workspace, **ops):
    given = asdict(workspace)
    del given["version"]  # a run that writes makes its own
    config = {
        "ops": {"images": {"config": {"size": SIZE}}, **{name: {"config": config} for name, config in ops.items()}},
        "resources": {"workspace": {"config": given}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
    with dg.DagsterInstance.ephemeral() as instance:
        return JOB.execute_in_process(
            run_config=config,
            instance=instance,
            raise_on_error=False,
            partition_key=config["resources"]["workspace"]["config"]["cohort"],
        )


def checks(result):
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}


def metadata(result, asset):
    (event,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}


def workspace_of(layout, folder, few):
    cohort = max((name for name in cohort_names() if layout.startswith(name)), key=len)
    layout_writer(layout)(folder / "archive", few)
    return Workspace(home=str(folder / "home"), cohort=cohort, archive_root=str(folder / "archive"))


@pytest.mark.parametrize("layout", sorted(set(layout_names()) & set(cohort_names())))
def test_every_row_of_every_cohort_is_a_study_or_a_reject(layout, few, tmp_path):
    workspace = workspace_of(layout, tmp_path, few)
    result = ingest(workspace)
    found, cohort = checks(result), workspace.open_cohort()
    parsed = cohort.report_style != "stemmed"  # no parser reads stems, which is a warning
    assert {name: check.passed for name, check in found.items()} == {
        name: parsed or name != "reports_have_triplets" for name in found
    }
    counts = {name: value.value for name, value in found["nothing_lost"].metadata.items()}
    data = ShardReader(workspace.folder("shards")).read()
    assert (
        counts["source_rows"] == counts["studies"] + counts["rejects"] == metadata(result, "inventory")["source_rows"]
    )
    assert len(data) == counts["studies"] > 0
    assert all(bool(text) == cohort.has_reports for text in data.texts)
    assert bool(len(data.triplets.row)) == (cohort.has_reports and parsed)
    subsets = pq.read_table(workspace.folder("subsets") / "subsets.parquet")
    assert subsets.num_rows == (data.splits == "train").sum()


def test_the_plain_ingestion_finds_what_the_job_made_and_the_other_way_round(few, tmp_path):
    workspace = workspace_of("open_i", tmp_path, few)
    version = metadata(ingest(workspace), "shards.collect_shards")["data_version"]
    lines = []
    settings = IngestionSettings(images=ImagesSettings(size=SIZE))
    assert update(workspace, settings, lines.append, progress=False)["data_version"] == version
    assert "0 of 1 batches to compute, the others are there" in lines
    shutil.rmtree(workspace.home_path())
    assert update(workspace, settings, progress=False)["data_version"] == version
    result = ingest(workspace)
    computed = {metadata(result, f"{name}.collect_{name}")["computed"] for name in ("images", "reports", "shards")}
    assert computed == {0}


def test_the_headers_of_hospital_images_are_reported_without_a_value(few, tmp_path):
    workspace = workspace_of("mimic_cxr", tmp_path, few)
    (image,) = list((tmp_path / "archive").rglob("*.dcm"))[:1]
    dataset = pydicom.dcmread(image)
    dataset.PatientName, dataset.BurnedInAnnotation = "Doe^Jane", "YES"
    dataset.save_as(image)
    told = metadata(ingest(workspace), "images.collect_images")
    assert "| PatientName |" in told["identifying attributes"]
    assert told["burned-in annotation: yes"] == 1
    assert "Doe" not in str(told)
    assert not any(b"Doe" in path.read_bytes() for path in (tmp_path / "home").rglob("*.parquet"))


def test_a_cohort_whose_rows_lie_stops_before_anything_is_trained(few, tmp_path, monkeypatch):
    workspace = workspace_of("covidx", tmp_path, few)
    reader = type(workspace.open_cohort())
    honest = reader.scan
    monkeypatch.setattr(reader, "scan", lambda self: (scan := honest(self)) and replace(scan, studies=scan.studies[1:]))
    result = ingest(workspace)
    assert not result.success
    check = checks(result)["nothing_lost"]
    assert not check.passed
    assert check.metadata["missing"].value == 1
    started = {event.step_key for event in result.all_events if event.is_step_start}
    assert "studies_checks" in started
    assert "shards_checks" not in started  # which every training waits for


def test_a_changed_and_a_vanished_file_are_told_and_leave_nothing_stale(few, tmp_path):
    workspace = workspace_of("mimic_cxr", tmp_path, few[:10])
    archive = tmp_path / "archive"
    cut = {"inventory": {"batch_size": 5}}
    before = archive_digest(archive)
    assert checks(ingest(workspace, **cut))["only_grew"].passed
    old = ShardReader(workspace.folder("shards")).read()
    studies = pq.read_table(workspace.folder("studies") / "studies.parquet").to_pylist()
    changed, vanished = studies[0], studies[-1]
    replace_image(archive / changed["image_path"])
    (archive / vanished["image_path"]).unlink()
    layout_writer("mimic_cxr")(tmp_path / "grown", few)
    shutil.copytree(tmp_path / "grown", archive, copy_function=copy_new, dirs_exist_ok=True)
    (archive / vanished["image_path"]).unlink()
    assert archive_digest(archive) != before
    result = ingest(workspace, **cut)
    assert result.success  # a warning, no stop
    check = checks(result)["only_grew"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    told = {record.data["image_id"]: record.data["change"] for record in check.metadata["images"].records}
    assert told == {changed["image_id"]: "image changed", vanished["image_id"]: "vanished"}
    counts = metadata(result, "inventory")
    assert (counts["changed"], counts["vanished"]) == (1, 1)
    data = ShardReader(workspace.folder("shards"), verify=True).read()
    assert len(data) == len(old) + counts["new"] - 1
    assert vanished["image_id"] not in data.image_ids
    kept = {name: old.pixels[row].tobytes() for row, name in enumerate(old.image_ids) if name in data.image_ids}
    same = {name: pixels == data.pixels[list(data.image_ids).index(name)].tobytes() for name, pixels in kept.items()}
    assert {name for name, equal in same.items() if not equal} == {changed["image_id"]}
    assert checks(ingest(workspace, **cut))["only_grew"].passed  # told once


def test_an_archive_on_object_storage_runs_through(few, tmp_path):
    workspace = workspace_of("chestxray14", tmp_path, few)
    storage = UPath(f"memory:///{tmp_path.name}")
    storage.fs.put(f"{workspace.archive_root}/", storage.path, recursive=True)
    there = replace(workspace, archive_root=str(storage), home=str(tmp_path / "there"))
    assert ingest(workspace).success
    assert ingest(there).success
    here, remote = (ShardReader(place.folder("shards")).read() for place in (workspace, there))
    assert (here.pixels == remote.pixels).all()
    assert here.image_ids.tolist() == remote.image_ids.tolist()
    storage.fs.rm(storage.path, recursive=True)


def replace_image(path):
    """Another image of the same size under the same name."""
    dataset = pydicom.dcmread(path)
    dataset.PixelData = dataset.pixel_array[::-1].tobytes()
    dataset.save_as(path)


def copy_new(source, target):
    """Copy a file unless it is there; tables always."""
    if source.endswith(".gz") or not Path(target).exists():
        shutil.copy2(source, target)
    return target


def test_another_family_of_splits_costs_no_decoding(few, tmp_path):
    workspace = workspace_of("chestxray14", tmp_path, few)
    reader = workspace.open_cohort()
    assert metadata(ingest(workspace), "inventory")["split"] == reader.splits[0]
    result = ingest(workspace, inventory={"split": reader.splits[1]})
    assert result.success
    assert metadata(result, "inventory")["split"] == reader.splits[1]
    batches = {event.step_key.partition("[")[0] for event in result.all_events if event.is_step_start}
    assert "images.images_batch" not in batches
    assert "shards.shards_batch" in batches
    refused = ingest(workspace, inventory={"split": "by eye"})
    message = next(
        event for event in refused.all_events if event.is_step_failure
    ).event_specific_data.error_display_string
    assert all(name in message for name in ("'by eye'", *reader.splits))
