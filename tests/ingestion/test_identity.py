"""The data version and the order of rows follow from what an archive says, not from how and when it was read."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from cohorts.phantom.archive import simulate
from cohorts.phantom.config import PhantomConfig
from ingestion.inventory import InventorySettings
from ingestion.pipeline import IngestionSettings, update
from ingestion.stages.images import ImagesSettings
from ingestion.tables.subsets import subsets_digest, table_path
from ingestion.workspace import Workspace
from shards.reader import ShardReader
from store.digests import file_digest

STUDIES, SIZE = 60, 32
NIGHTS = (7, 21, 22, 45, STUDIES)


def ingest(home, archive, batch_size):
    workspace = Workspace(home=str(home), cohort="phantom", archive_root=str(archive))
    settings = IngestionSettings(inventory=InventorySettings(batch_size=batch_size), images=ImagesSettings(size=SIZE))
    return workspace, update(workspace, settings, progress=False)


def grow(archive, studies):
    simulate(archive, PhantomConfig(studies=studies, height=64))


@pytest.fixture(scope="module")
def at_once(tmp_path_factory):
    """An archive with damaged files, ingested at once."""
    folder = tmp_path_factory.mktemp("once")
    grow(folder / "archive", STUDIES)
    damage(folder / "archive")
    return folder / "archive", *ingest(folder / "home", folder / "archive", batch_size=20)


def damage(archive):
    """An image cut short and an empty report."""
    image = sorted(archive.glob("files/*/*/*/*.dcm"))[0]
    image.write_bytes(image.read_bytes()[:-500])
    sorted(archive.glob("files/*/*/*.txt"))[-1].write_text(" \n")


def expect_the_same(one, other):
    """Equal in every column and every pixel, in the same order."""
    first, second = (ShardReader(workspace.folder("shards"), verify=True) for workspace in (one, other))
    assert first.manifest.digest == second.manifest.digest
    for split in (None, "train", "validate", "test"):
        assert first.columns(split).equals(second.columns(split))
        pixels = [reader.pixels(split).read(np.arange(len(reader.pixels(split)))) for reader in (first, second)]
        assert np.array_equal(*pixels)
    assert subsets_digest(one) == subsets_digest(other) != ""
    for name in ("studies", "rejects", "subsets"):
        assert file_digest(table_path(one, name)) == file_digest(table_path(other, name))


def test_an_archive_that_grew_over_five_nights_is_the_one_ingested_at_once(at_once, tmp_path):
    _, workspace, state = at_once
    versions = []
    for studies in NIGHTS:
        grow(tmp_path / "archive", studies)
        if studies == STUDIES:
            damage(tmp_path / "archive")
        grown, found = ingest(tmp_path / "home", tmp_path / "archive", batch_size=20)
        versions.append(found["data_version"])
    assert len(set(versions)) == len(NIGHTS)
    assert versions[-1] == state["data_version"]
    expect_the_same(workspace, grown)


def test_a_copy_with_other_times_under_another_path_and_batch_size_is_the_same(at_once, tmp_path):
    archive, workspace, state = at_once
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(archive, copy)
    for number, path in enumerate(sorted(copy.rglob("*"))):
        os.utime(path, (1_000_000_000 + number, 1_000_000_000 + 7 * number))
    copied, found = ingest(tmp_path / "home", copy, batch_size=13)
    assert found["data_version"] == state["data_version"]
    expect_the_same(workspace, copied)


def test_other_times_alone_change_nothing(at_once):
    """They only decide what is looked at again."""
    archive, workspace, state = at_once
    for path in archive.rglob("*.dcm"):
        os.utime(path)
    _, found = ingest(workspace.home, archive, batch_size=20)
    assert found["data_version"] == state["data_version"]


def test_other_content_is_another_version(at_once, tmp_path):
    archive, _, state = at_once
    shutil.copytree(archive, tmp_path / "copy")
    report = sorted((tmp_path / "copy").glob("files/*/*/*.txt"))[3]
    report.write_text(report.read_text().replace("FINDINGS:", "FINDINGS: Small left effusion."))
    _, found = ingest(tmp_path / "home", tmp_path / "copy", batch_size=20)
    assert found["data_version"] != state["data_version"]
