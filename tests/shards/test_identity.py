"""The data version and the order of rows follow from what the rows say, and from nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shards.manifest import Manifest
from shards.reader import ShardReader
from shards.schema import shard_schema
from shards.writer import write_manifest, write_shard
from tests.shards.conftest import ENTITIES, POSITIONS, make_sources

SIZE = 4
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def write_folder(folder: Path, shards: dict[str, pa.Table], size: int = SIZE) -> str:
    """Write shards under their names; returns the data version."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in shards.items():
        write_shard(table, folder / f"{name}.parquet")
    paths = [folder / f"{name}.parquet" for name in shards]
    return write_manifest(folder, paths, ENTITIES, POSITIONS, size, "toy")


def divide(table: pa.Table, owners: np.ndarray, names: list[str]) -> dict[str, pa.Table]:
    """The rows of a table, shuffled over shards: row i goes to the shard `names[owners[i]]`."""
    return {name: table.filter(pa.array(owners == number)) for number, name in enumerate(names)}


@FEW
@given(data=st.data(), rows=st.integers(1, 40), count=st.integers(1, 5), seed=st.integers(0, 2**16))
def test_any_division_of_the_same_rows_has_the_same_version_and_order(tmp_path_factory, data, rows, count, seed):
    folder = tmp_path_factory.mktemp("shards")
    rng = np.random.default_rng(seed)
    table = make_sources(rows, SIZE, seed).build()
    whole = write_folder(folder / "whole", {"all": table})
    letters = st.text("abcdef0123456789", min_size=1, max_size=6)
    names = data.draw(st.lists(letters, min_size=count, max_size=count, unique=True))
    shuffled = table.take(pa.array(rng.permutation(rows)))
    divided = write_folder(folder / "divided", divide(shuffled, rng.integers(0, count, rows), names))
    assert divided == whole
    for split in (None, "train", "validate", "test"):
        one, other = (ShardReader(folder / name).read(split) for name in ("whole", "divided"))
        assert list(other.image_ids) == sorted(other.image_ids)
        np.testing.assert_array_equal(other.image_ids, one.image_ids)
        np.testing.assert_array_equal(other.pixels, one.pixels)
        assert (other.texts, other.sentences) == (one.texts, one.sentences)
        for found, expected in zip(other.triplets, one.triplets, strict=True):
            np.testing.assert_array_equal(found, expected)


@FEW
@given(rows=st.integers(1, 60), count=st.integers(1, 6), seed=st.integers(0, 2**16))
def test_rows_come_by_image_id_with_their_own_pixels(tmp_path_factory, rows, count, seed):
    folder = tmp_path_factory.mktemp("shards")
    rng = np.random.default_rng(seed)
    table = make_sources(rows, SIZE, seed).build()
    pixels = dict(zip(table["image_id"].to_pylist(), table["pixels"].to_pylist(), strict=True))
    write_folder(folder, divide(table, rng.integers(0, count, rows), [f"s{number}" for number in range(count)]))
    reader = ShardReader(folder)
    columns, stored = reader.columns(), reader.pixels()
    assert columns["image_id"].to_pylist() == sorted(pixels)
    chosen = rng.integers(0, rows, 7)
    images = stored.read(chosen)
    for row, image in zip(chosen, images, strict=True):
        assert image.tobytes() == pixels[columns["image_id"][int(row)].as_py()]


def test_the_order_of_labels_in_a_map_means_nothing(tmp_path):
    row = {**make_sources(1).build().to_pylist()[0], "labels": [("effusion", 1.0), ("nodule", 0.0)]}
    other = {**row, "labels": row["labels"][::-1]}
    tables = [pa.Table.from_pylist([content], schema=shard_schema(SIZE)) for content in (row, other)]
    assert write_folder(tmp_path / "one", {"a": tables[0]}) == write_folder(tmp_path / "other", {"a": tables[1]})


CHANGES = {
    "image_id": "another",
    "study_id": "another",
    "subject_id": "another",
    "split": "test",
    "view": "AP",
    "height": 7,
    "width": 7,
    "pixels": bytes(range(1, SIZE * SIZE + 1)),
    "text": "Another text.",
    "sentences": [{"section": "impression", "text": "Another sentence."}],
    "triplets": [{"entity": 2, "position": 1, "exists": -1, "sentence": 0}],
    "labels": [("effusion", -1.0)],
}


def test_every_column_is_changed_below():
    assert set(CHANGES) == set(shard_schema(SIZE).names)


@pytest.mark.parametrize("column", CHANGES)
def test_any_other_value_is_another_version(column, tmp_path):
    rows = make_sources(3, SIZE).build().to_pylist()
    changed = [rows[0], {**rows[1], column: CHANGES[column]}, rows[2]]
    assert changed != rows
    tables = [pa.Table.from_pylist(content, schema=shard_schema(SIZE)) for content in (rows, changed)]
    assert write_folder(tmp_path / "one", {"a": tables[0]}) != write_folder(tmp_path / "other", {"a": tables[1]})


@pytest.mark.parametrize("labels", [[], [("effusion", None)], [("effusion", 1.0), ("nodule", 1.0)]])
def test_no_labels_empty_labels_and_unknown_values_differ(labels, tmp_path):
    row = {**make_sources(1).build().to_pylist()[0], "labels": None}
    tables = [pa.Table.from_pylist([{**row, "labels": value}], shard_schema(SIZE)) for value in (None, labels)]
    assert write_folder(tmp_path / "one", {"a": tables[0]}) != write_folder(tmp_path / "other", {"a": tables[1]})


def test_a_row_that_is_there_twice_or_missing_is_another_version(tmp_path):
    table = make_sources(4, SIZE).build()
    versions = {write_folder(tmp_path / str(rows), {"a": table.slice(0, rows)}) for rows in range(5)}
    assert len(versions) == 5


def test_exchanged_values_of_two_rows_are_another_version(tmp_path):
    rows = make_sources(2, SIZE).build().to_pylist()
    exchanged = [{**rows[0], "pixels": rows[1]["pixels"]}, {**rows[1], "pixels": rows[0]["pixels"]}]
    tables = [pa.Table.from_pylist(content, schema=shard_schema(SIZE)) for content in (rows, exchanged)]
    assert write_folder(tmp_path / "one", {"a": tables[0]}) != write_folder(tmp_path / "other", {"a": tables[1]})


def test_the_version_follows_vocabulary_size_fit_and_cohort(tmp_path):
    table = make_sources(3, SIZE).build()
    version = write_folder(tmp_path, {"a": table})
    path = tmp_path / "a.parquet"
    others = {
        write_manifest(tmp_path, [path], ENTITIES[::-1], POSITIONS, SIZE, "toy"),
        write_manifest(tmp_path, [path], ENTITIES, POSITIONS[::-1], SIZE, "toy"),
        write_manifest(tmp_path, [path], ENTITIES, POSITIONS, SIZE, "another"),
    }
    others.add(write_manifest(tmp_path, [path], ENTITIES, POSITIONS, SIZE, "toy", {"squash": True}))
    assert len(others | {version}) == 5
    assert write_manifest(tmp_path, [path], ENTITIES, POSITIONS, SIZE, "toy", {"squash": False}) == version
    assert (
        write_manifest(tmp_path, [path], ENTITIES, POSITIONS, SIZE, "toy") == version == Manifest.load(tmp_path).digest
    )
