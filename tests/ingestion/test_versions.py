"""What a run reads stays what it is while other runs write, and a damaged version is made again."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from cohorts.phantom.archive import simulate
from cohorts.phantom.config import PhantomConfig
from ingestion.pipeline import IngestionSettings, last_settings, update
from ingestion.stages.images import ImagesSettings
from ingestion.tables.subsets import SubsetsSettings, subsets_digest
from ingestion.versions import at_version, pin, pinned, pinned_state, take_version, version_for
from ingestion.workspace import Workspace
from shards.manifest import Manifest
from shards.reader import ShardReader
from store import batches
from store.errors import DamageError

STUDIES = 20


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("archive")
    simulate(root, PhantomConfig(studies=STUDIES, height=64))
    return root


@pytest.fixture
def place(archive, tmp_path):
    return Workspace(home=str(tmp_path), cohort="phantom", archive_root=str(archive))


def ingest(place, size=32, seed=0):
    settings = IngestionSettings(images=ImagesSettings(size=size), subsets=SubsetsSettings(seed=seed))
    return update(place, settings, progress=False)


def read(workspace):
    """Pixels, texts, label fractions, triplets and settings, as training and evaluation read them."""
    data = ShardReader(workspace.folder("shards")).read()
    triplets = batches.read_batches(workspace.folder("triplets")).to_pylist()
    return data.pixels, data.texts, subsets_digest(workspace), triplets, last_settings(workspace)


def same(one, other):
    return np.array_equal(one[0], other[0]) and one[1:] == other[1:]


def test_a_version_stays_what_it_is_while_another_run_writes(place):
    first = at_version(place, ingest(place)["version"])
    before = read(first)
    second = at_version(place, ingest(place, size=48, seed=5)["version"])
    assert same(read(first), before)
    assert not same(read(second), before)
    assert same(read(second), read(place))  # which reads the present tables
    assert last_settings(first)["images"]["size"] == 32


def test_equal_tables_are_one_version(place):
    first = ingest(place)["version"]
    assert ingest(place, seed=5)["version"] != first
    assert ingest(place)["version"] == first


def test_a_run_reads_what_it_pinned(place):
    state = ingest(place)
    pin(place, "run", state)
    other = pinned(place, "another")
    ingest(place, size=48)
    assert pinned(place, "run").version == other.version == state["version"]
    assert pinned_state(place, "run")["data_version"] == state["data_version"]
    assert pinned(place, "later").version != state["version"]
    assert pinned_state(place, "never") is None


def test_a_network_is_evaluated_on_what_it_was_trained_on(place):
    lines = []
    old = ingest(place)
    new = ingest(place, size=48)
    for state in (old, new):
        found = version_for(place, state["data_version"], "run", state["version"], lines.append)
        assert Manifest.load(found.folder("shards")).digest == state["data_version"]
    assert not lines
    found = version_for(place, "0" * 64, "run", "gone", lines.append)
    assert Manifest.load(found.folder("shards")).digest == new["data_version"]
    assert len(lines) == 1


def test_other_fractions_of_the_same_data_are_read(place):
    old = ingest(place)
    new = ingest(place, seed=5)
    found = version_for(place, old["data_version"], "run", old["version"], print)
    assert found.version == new["version"]


def test_a_version_that_is_gone_is_said(place):
    with pytest.raises(DamageError, match="no-such-version"):
        at_version(place, "no-such-version")


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


BATCH = f"{'?' * 20}.parquet"
TABLES = ["studies/studies.parquet", "subsets/subsets.parquet", "triplets/plan.parquet", "shards/manifest.json"]


@pytest.mark.parametrize("name", [*TABLES, "shards"])
def test_a_damaged_version_is_told_and_made_again(place, name):
    kept = at_version(place, ingest(place)["version"])
    before = read(kept)
    folder = kept.home_path() / "phantom" / "versions" / kept.version
    path = next((folder / name).glob(BATCH)) if name == "shards" else folder / name
    flip(path)
    if name == "shards":
        target = os.path.realpath(path)
        with pytest.raises(Exception, match="was changed after it was written"):
            read(kept)
        assert not os.path.exists(target)
    assert ingest(place)["version"] == kept.version
    assert same(read(kept), before)


def test_a_pinned_workspace_leaves_its_version_behind_where_it_looks_at_another_dataset(place):
    kept = replace(place, version="x")
    assert Workspace(home=place.home, version="x").folder("archive") == place.home_path() / "phantom" / "archive"
    assert kept.downstream("mura") is None


def test_a_version_costs_no_disk(place):
    ingest(place)
    folder = place.home_path() / "phantom" / "versions"
    assert all(path.is_symlink() for path in folder.glob(f"*/shards/{BATCH}"))
    before = len(list(folder.iterdir()))
    take_version(place)
    assert len(list(folder.iterdir())) == before == 1
