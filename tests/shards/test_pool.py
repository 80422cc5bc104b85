"""A pool reads the rows of its members where they lie, and its data version is that of its content."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from shards.errors import ShardError
from shards.manifest import Manifest
from shards.pool import FILE_NAME, LEFT_OUT, LEFT_OUT_FILE, Pool, data_version_of, has_shards, load_manifest, origins_of
from shards.pool_reader import PoolReader, cohorts_of, open_reader
from shards.reader import ShardReader
from shards.writer import write_manifest, write_shard
from store.errors import DamageError, UserError
from store.seals import seal

NOTHING = LEFT_OUT.empty_table()


@pytest.fixture
def members(tmp_path, sources):
    """Two cohorts, whose images have the same ids."""
    return {name: write_member(tmp_path, sources, name, rows) for name, rows in (("one", 40), ("two", 24))}


def write_member(tmp_path, sources, name, rows, size=4, seed=None):
    folder = tmp_path / name / "shards"
    folder.mkdir(parents=True, exist_ok=True)
    made = sources(rows, size, seed=len(name) + rows if seed is None else seed)
    write_shard(made.build(), folder / "a.parquet")
    write_manifest(folder, [folder / "a.parquet"], made.entities, made.positions, size, name)
    return folder


def leave_out(*rows):
    names = ("cohort", "image_id", "split", "reason", "other")
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], LEFT_OUT)


def write_pool(tmp_path, members, left_out=NOTHING, name="pool"):
    return Pool.write(tmp_path / name, members, left_out, "made by")


def test_the_rows_are_those_of_the_members_in_order(tmp_path, members):
    write_pool(tmp_path, members)
    reader = open_reader(tmp_path / "pool")
    assert isinstance(reader, PoolReader)
    for split in ("train", "validate", "test", None):
        parts = [ShardReader(folder) for folder in members.values()]
        expected = [row for part in parts for row in part.columns(split).to_pylist()]
        assert reader.columns(split).to_pylist() == expected
        assert reader.kinds(split).tolist() == [kind for part in parts for kind in part.kinds(split)]
        pixels = np.concatenate([part.read(split).pixels for part in parts])
        order = np.random.default_rng(0).permutation(len(pixels))
        np.testing.assert_array_equal(reader.pixels(split).read(order), pixels[order])
        assert len(cohorts_of(reader, split)) == len(pixels)


def test_an_image_is_left_out_of_its_cohort_alone(tmp_path, members):
    shared = ShardReader(members["two"]).columns("train", ["image_id"])["image_id"][0].as_py()
    assert shared in ShardReader(members["one"]).columns("train", ["image_id"])["image_id"].to_pylist()
    pool = write_pool(tmp_path, members, leave_out(("two", shared, "train", "copy_in_test", "one")))
    reader = open_reader(tmp_path / "pool")
    ids = list(zip(reader.cohorts("train"), reader.columns("train", ["image_id"])["image_id"].to_pylist(), strict=True))
    assert ("one", shared) in ids
    assert ("two", shared) not in ids
    rows = {name: Manifest.load(folder).rows for name, folder in members.items()}
    assert pool.rows == sum(rows.values()) - 1 == len(reader.columns())
    assert [sum(one.rows.values()) - sum(one.used.values()) for one in pool.members] == [0, 1]
    assert origins_of(pool)["two"]["left_out"] == {"copy_in_test": 1}
    assert pool.describe_counts() == [
        f"one: {rows['one']} rows, {rows['one']} used.",
        f"two: {rows['two']} rows, {rows['two'] - 1} used, 1 left out as copy in test.",
    ]


def test_the_order_of_members_does_not_count(tmp_path, members):
    one = write_pool(tmp_path, members)
    other = write_pool(tmp_path, dict(reversed(members.items())), name="other")
    assert one == replace(other, folder=one.folder)
    assert one.cohort == "one+two"
    assert one.digest == other.digest


def test_the_data_version_follows_from_members_and_from_what_is_left_out(tmp_path, members, sources):
    before = write_pool(tmp_path, members)
    ids = ShardReader(members["one"]).columns("train", ["image_id"])["image_id"].to_pylist()
    rows = [("one", image, "train", "copy_in_test", "two") for image in ids[:2]]
    less = write_pool(tmp_path, members, leave_out(*rows), "less")
    assert less.digest == write_pool(tmp_path, members, leave_out(*reversed(rows)), "again").digest
    write_member(tmp_path, sources, "two", 30)
    grown = write_pool(tmp_path, members, name="grown")
    assert len({before.digest, less.digest, grown.digest}) == 3
    assert data_version_of(grown.data_versions, NOTHING) == grown.digest


def test_a_member_that_grew_is_another_pool(tmp_path, members, sources):
    write_pool(tmp_path, members)
    write_member(tmp_path, sources, "two", 30)
    with pytest.raises(ShardError, match=r"holds data version .* of two, and the pool one\+two was made with"):
        load_manifest(tmp_path / "pool")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": 8}, "have images of 4 and of 8 pixels"),
        ({"decoding": {"squash": True}}, "differ in whether images are squashed"),
        ({"entities": ("a",)}, "have different observations"),
        ({"positions": ("a",)}, "have different anatomic locations"),
    ],
)
def test_members_that_cannot_be_read_alike_are_one_sentence(tmp_path, members, change, said):
    replace(Manifest.load(members["two"]), **change).write(members["two"])
    with pytest.raises(ShardError, match=f"one and two {said}, so they cannot be pooled; ingest both again"):
        write_pool(tmp_path, members)


def test_a_damaged_pool_is_one_sentence(tmp_path, members):
    pool = write_pool(tmp_path, members)
    assert has_shards(tmp_path / "pool")
    assert not has_shards(tmp_path)
    path = tmp_path / "pool" / FILE_NAME
    content = json.loads(path.read_text())
    for damaged in ("{}", "[]", "x", json.dumps({**content, "left_out": "0" * 64})):
        path.write_text(damaged)
        seal(path)
        with pytest.raises(ShardError, match="bring the pool up to date again"):
            Pool.load(tmp_path / "pool")
    path.write_text(json.dumps(content) + " ")
    with pytest.raises(DamageError):
        Pool.load(tmp_path / "pool")
    other = leave_out(("one", "i00000", "train", "copy_in_test", "two"))
    Pool.write(tmp_path / "other", members, other, "made by")
    for suffix in ("", ".sha256"):
        (tmp_path / "other" / f"{LEFT_OUT_FILE}{suffix}").replace(tmp_path / "pool" / f"{LEFT_OUT_FILE}{suffix}")
    with pytest.raises(ShardError, match="is not of the pool beside it"):
        pool.read_left_out()


def test_a_byte_of_a_member_is_noticed(tmp_path, members):
    write_pool(tmp_path, members)
    path = members["two"] / "a.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError):
        open_reader(tmp_path / "pool")
