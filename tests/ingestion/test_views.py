"""Laterals of an archive from its files to its shards, and what asking for them later costs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest

from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.simulated import simulate_studies
from cohorts.readers.mimic_cxr import MimicCxr
from cohorts.views import FRONTAL, KINDS, LATERAL
from ingestion.checks import check_shards, check_studies
from ingestion.inventory import InventorySettings
from ingestion.pipeline import IngestionSettings, last_settings, update, update_dataset
from ingestion.stages.images import ImagesSettings
from ingestion.workspace import Workspace
from shards.reader import ShardReader
from store import batches
from store.errors import SettingError

BOTH = (FRONTAL, LATERAL)
SIZE = 32


@pytest.fixture(scope="module")
def studies():
    return simulate_studies(PhantomConfig(studies=8, height=64), 8)


@pytest.fixture
def archive(studies, monkeypatch, tmp_path):
    """Writes an archive outside the home, and says where it lies."""

    def write(layout, cohort):
        root = tmp_path / "archives" / layout
        layout_writer(layout)(root, studies)
        monkeypatch.setenv(f"RADALIGN_{cohort.upper()}_ROOT", str(root))
        return root

    return write


@pytest.fixture
def decoded(monkeypatch):
    """The paths of the images that are decoded, in order."""
    from cohorts.archive import listed_images

    paths, read = [], listed_images.read_listed

    def counted(root, relative, *rest):
        paths.append(relative)
        return read(root, relative, *rest)

    monkeypatch.setattr(listed_images, "read_listed", counted)
    return paths


def settings(*views, size=SIZE):
    return IngestionSettings(inventory=InventorySettings(batch_size=3, views=views), images=ImagesSettings(size=size))


def ingest(workspace, *views, size=SIZE):
    return update(workspace, settings(*views, size=size), progress=False)


def frontal_paths(root):
    """Paths of frontal images, in the order of the archive's table."""
    scan = MimicCxr(root).scan()
    return scan.studies["image_path"].to_pylist()


def rejected(there):
    """The files that could not be decoded."""
    rejects = batches.read_rejects(there.folder("images"))
    return {there.root() / path for path in rejects["source_path"].to_pylist()}


def test_laterals_come_to_the_shards_with_the_report_of_their_study(archive, workspace, studies):
    archive("mimic_cxr_jpg", "mimic_cxr")
    there = replace(workspace, cohort="mimic_cxr")
    state = ingest(there, *BOTH)
    laterals = sum(study.lateral is not None for study in studies)
    read = ["study_id", "view", "text", "sentences", "triplets", "labels"]
    table = ShardReader(there.folder("shards")).columns(None, read)
    rows = table.to_pylist()
    assert Counter(ShardReader(there.folder("shards")).kinds().tolist()) == {FRONTAL: len(studies), LATERAL: laterals}
    assert sum(state.get(split, 0) for split in ("train", "validate", "test")) == len(studies) + laterals
    frontal = {row["study_id"]: row for row in rows if row["view"] != "LATERAL"}
    for row in rows:
        for name in ("text", "sentences", "triplets", "labels"):
            assert row[name] == frontal[row["study_id"]][name]
    assert any(row["text"] for row in rows)
    assert all(result.passed for result in [*check_studies(there), *check_shards(there)])
    texts = batches.read_batches(there.folder("reports"))["study_id"].to_pylist()
    assert len(texts) == len(set(texts)) == len(studies)  # a report is taken apart once


def test_other_views_cost_what_is_new_and_end_where_a_fresh_home_does(archive, workspace, studies, decoded, tmp_path):
    archive("mimic_cxr_jpg", "mimic_cxr")
    there = replace(workspace, cohort="mimic_cxr")
    usual = ingest(there, FRONTAL)
    assert len(decoded) == len(studies)
    decoded.clear()
    both = ingest(there, *BOTH)
    laterals = sum(study.lateral is not None for study in studies)
    assert len(decoded) == len(set(decoded)) == laterals
    decoded.clear()
    assert ingest(there, FRONTAL)["data_version"] == usual["data_version"]
    assert not decoded
    assert ingest(there, *KINDS)["data_version"] == both["data_version"]  # the archive has no others
    assert not decoded
    assert ingest(there, LATERAL)["data_version"] not in (usual["data_version"], both["data_version"])
    fresh = Workspace(home=str(tmp_path / "fresh"), cohort="mimic_cxr")
    assert ingest(fresh, *BOTH)["data_version"] == both["data_version"]
    assert last_settings(there)["inventory"]["views"] == [LATERAL]


def test_known_images_are_decoded_again_where_they_or_the_settings_changed(archive, workspace, studies, decoded):
    root = archive("mimic_cxr_jpg", "mimic_cxr")
    there = replace(workspace, cohort="mimic_cxr")
    broken, changed = (root / study_path for study_path in frontal_paths(root)[:2])
    broken.write_bytes(b"no image")
    ingest(there, FRONTAL)
    assert rejected(there) == {broken}
    changed.write_bytes(b"none any more")
    decoded.clear()
    ingest(there, *BOTH)
    laterals = sum(study.lateral is not None for study in studies)
    assert len(decoded) == laterals + 1
    assert {root / path for path in decoded} & {broken, changed} == {changed}  # what was refused stays refused
    assert rejected(there) == {broken, changed}
    decoded.clear()
    ingest(there, *BOTH, size=48)
    assert len(decoded) == len(studies) + laterals


@pytest.mark.parametrize(
    ("layout", "cohort"),
    [("chexpert", "chexpert"), ("open_i_kaggle", "open_i")],
)
def test_downstream_datasets_keep_the_views_that_they_have(archive, workspace, decoded, layout, cohort):
    archive(layout, cohort)
    batches.commit(workspace.folder("images"), batches.Plan((), {"size": SIZE}))
    there = workspace.downstream(cohort)
    usual = update_dataset(workspace, cohort, progress=False)
    assert set(ShardReader(there.folder("shards")).kinds()) == {FRONTAL}
    decoded.clear()
    both = update_dataset(workspace, cohort, progress=False, views=BOTH)
    kinds = Counter(ShardReader(there.folder("shards")).kinds().tolist())
    assert kinds[LATERAL] == len(decoded) > 0
    assert both["data_version"] != usual["data_version"]
    assert update_dataset(workspace, cohort, progress=False)["data_version"] == both["data_version"]


def test_views_are_those_that_a_launchpad_a_file_or_a_command_gives():
    from assets.ingestion import InventoryConfig
    from assets.settings.launchpad import settings_of

    given = InventoryConfig(views=[FRONTAL, LATERAL])
    assert settings_of(given, InventorySettings).views == BOTH
    assert json.loads(json.dumps(given.model_dump()))["views"] == list(BOTH)


def test_views_that_are_none_are_named(archive, workspace):
    archive("mimic_cxr_jpg", "mimic_cxr")
    with pytest.raises(Exception, match=r"`views` names 'side'; choose of frontal, lateral, unknown") as caught:
        ingest(replace(workspace, cohort="mimic_cxr"), "side")
    assert not isinstance(caught.value, SettingError)
