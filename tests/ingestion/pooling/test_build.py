"""Pools of simulated archives that hold the same studies in two layouts."""

from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pytest

from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.simulated import simulate_studies
from ingestion.pipeline import IngestionSettings, update
from ingestion.pooling.build import build_pool, members_at
from ingestion.stages.images import ImagesSettings
from ingestion.tables.exports import KnowledgeSettings, write_knowledge
from ingestion.versions import at_version, present_version, take_version, version_for, writing
from ingestion.workspace import Workspace
from shards.duplicates import find_near_duplicates, hash_images
from shards.errors import ShardError
from shards.manifest import Manifest
from shards.pool import LEFT_OUT_FILE, Pool
from shards.pool_reader import open_reader
from shards.reader import ShardReader
from store.errors import BusyError
from store.locks import HELD

NAME = "mimic_cxr+open_i"
STUDIES, SHARED = 24, 12
SETTINGS = IngestionSettings(images=ImagesSettings(size=32))
pytestmark = pytest.mark.filterwarnings("ignore:::pydicom")


@pytest.fixture(scope="module")
def studies():
    return simulate_studies(PhantomConfig(studies=STUDIES, height=96), STUDIES)


@pytest.fixture(scope="module")
def pool(tmp_path_factory, studies):
    """MIMIC-CXR as JPG, and Open-i as PNG with half of its studies, up to date as a pool."""
    folder = tmp_path_factory.mktemp("pool")
    layout_writer("mimic_cxr_jpg")(folder / "mimic", studies)
    layout_writer("open_i")(folder / "open_i", studies[:SHARED])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RADALIGN_MIMIC_CXR_ROOT", str(folder / "mimic"))
        patch.setenv("RADALIGN_OPEN_I_ROOT", str(folder / "open_i"))
        place = Workspace(home=str(folder / "home"), cohort="open_i+mimic_cxr")
        update(place, SETTINGS)
        yield place


def build(place):
    with writing(place, print):
        build_pool(place)


def load(place):
    return Pool.load(place.folder("shards"))


def test_rows_in_are_rows_used_and_rows_left_out(pool):
    found, reader = load(pool), open_reader(pool.folder("shards"))
    rows = {member.cohort_name(): Manifest.load(member.folder("shards")).rows for member in pool.members()}
    table = found.read_left_out()
    assert table.num_rows > 0
    for name, count in rows.items():
        used = int((reader.cohorts() == name).sum())
        assert used + pc.sum(pc.equal(table["cohort"], name)).as_py() == count
    assert len(reader.columns()) == found.rows == sum(rows.values()) - table.num_rows


def test_no_study_of_a_test_split_is_trained_on(pool):
    """The reports say which studies are the same: the simulation writes those of a study in both layouts."""
    reader, seen = open_reader(pool.folder("shards")), {}
    for member in pool.members():
        for split in ("train", "validate", "test"):
            texts = ShardReader(member.folder("shards")).columns(split, ["text"])["text"].to_pylist()
            seen[member.cohort_name(), split] = set(texts)
    shared = set.union(*(seen["mimic_cxr", split] for split in ("train", "validate", "test"))) & set.union(
        *(seen["open_i", split] for split in ("train", "validate", "test"))
    )
    assert len(shared) > SHARED // 2
    cohorts, texts = reader.cohorts("train"), reader.columns("train", ["text"])["text"].to_pylist()
    kept = [(cohort, text) for cohort, text in zip(cohorts, texts, strict=True) if text in shared]
    assert kept  # copies in training are not all dropped
    for cohort, text in kept:
        (other,) = {"mimic_cxr", "open_i"} - {cohort}
        assert text not in seen[other, "test"] | seen[other, "validate"]
    pixels = reader.pixels("train")
    one, other = (hash_images(pixels.read(np.flatnonzero(cohorts == name))) for name in ("mimic_cxr", "open_i"))
    assert not len(find_near_duplicates(one, other))  # of copies in training one is kept


def test_nothing_is_copied_and_no_path_is_absolute(pool):
    files = [path for path in (pool.home_path() / NAME).rglob("*") if path.is_file()]
    assert not any(
        path.name.endswith(".parquet") and path.name not in (LEFT_OUT_FILE, "knowledge.parquet") for path in files
    )
    assert str(pool.home_path()) not in (pool.folder("shards") / "pool.json").read_text()


def test_what_is_left_out_is_decided_once(pool, monkeypatch):
    before = present_version(pool)
    monkeypatch.setattr("ingestion.pooling.build.find_left_out", lambda parts: pytest.fail("decided again"))
    build(replace(pool, cohort=NAME))
    assert present_version(pool) == before == take_version(pool)


def test_members_are_read_in_the_version_of_the_pool(pool):
    there = at_version(pool, present_version(pool))
    versions = {member.cohort_name(): member.version for member in members_at(there)}
    assert versions == {member.cohort_name(): take_version(member) for member in pool.members()}
    assert members_at(pool.members()[0]) == [pool.members()[0]]


def test_whoever_writes_a_member_waits_for_its_pool(pool, monkeypatch):
    with writing(pool, print):
        monkeypatch.delenv(HELD)  # as another process
        for place in (pool, *pool.members()):
            with pytest.raises(BusyError, match="Another run writes the tables of"), writing(place, print, wait=False):
                pass


def test_a_member_that_grows_makes_another_pool(pool, studies, tmp_path, monkeypatch):
    before, old = load(pool), present_version(pool)
    layout_writer("open_i")(tmp_path / "open_i", studies[: SHARED + 6])
    monkeypatch.setenv("RADALIGN_OPEN_I_ROOT", str(tmp_path / "open_i"))
    update(pool, SETTINGS)
    after = load(pool)
    assert after.digest != before.digest
    assert after.data_versions["mimic_cxr"] == before.data_versions["mimic_cxr"]
    assert Pool.load(at_version(pool, old).folder("shards")) == before  # a training on it can go on
    assert version_for(pool, before.digest, "no run", old, print).version == old


def test_members_with_other_descriptions_are_one_sentence(pool, tmp_path):
    rows = "kind,name,aliases,description,source\nentity,effusion,water,Water in the chest.,ours\n"
    (tmp_path / "own.csv").write_text(rows)
    second = pool.members()[1]
    write_knowledge(second, KnowledgeSettings(str(tmp_path / "own.csv")))
    with pytest.raises(ShardError, match="mimic_cxr and open_i have different descriptions of findings"):
        build(pool)
    write_knowledge(second, KnowledgeSettings())


def test_a_member_without_shards_is_one_sentence(pool, tmp_path):
    place = replace(pool, home=str(tmp_path))
    with pytest.raises(ShardError, match="mimic_cxr is not ready to be pooled"):
        build(place)
    with pytest.raises(ShardError, match=r"There is no pool mimic_cxr\+open_i .* dagster job execute -j ingest"):
        take_version(place)
    assert present_version(place) == ""


def test_a_damaged_list_is_decided_again(pool):
    before = load(pool)
    path = pool.folder("shards") / LEFT_OUT_FILE
    path.write_bytes(path.read_bytes()[:-1])
    build(pool)
    assert load(pool) == before
    assert load(pool).read_left_out().num_rows > 0
