"""Weights follow from what the rows of the shards say, not from their files, their order, or their batches."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shards.manifest import Manifest
from shards.schema import shard_schema
from shards.writer import write_manifest, write_shard
from tests.models.tiny import READING, TRAINED, settings_for, tiny_method, way_of_reading
from tests.training.conftest import ENTITIES, POSITIONS, SIZE, shard_rows
from training.loop import train

ROWS, STEPS = 96, 20
DIVISIONS = {  # file name -> how many rows; the manifest lists the files in this order
    "at once": {"a.parquet": 96},
    "grown": {"9f.parquet": 17, "03.parquet": 40, "c1.parquet": 1, "7a.parquet": 38},
}


@pytest.fixture(scope="module")
def divided(tmp_path_factory, shards) -> dict[str, Path]:
    """The same rows, once in one shard in the order of their ids, once shuffled into four."""
    rows = shard_rows(ROWS)
    orders = {"at once": np.arange(ROWS), "grown": np.random.default_rng(1).permutation(ROWS)}
    folders = {}
    for name, division in DIVISIONS.items():
        folder, first = tmp_path_factory.mktemp("division"), 0
        for file, count in division.items():
            part = [rows[index] for index in orders[name][first : first + count]]
            write_shard(pa.Table.from_pylist(part, schema=shard_schema(SIZE)), folder / file)
            first += count
        write_manifest(folder, [folder / file for file in division], ENTITIES, POSITIONS, SIZE, "phantom")
        shutil.copy(shards / "knowledge.parquet", folder)
        folders[name] = folder
    return folders


def test_every_way_of_reading_is_among_them():
    assert {way_of_reading(tiny_method(name)) for name in READING} == {
        way_of_reading(tiny_method(name)) for name in TRAINED
    }


@pytest.mark.parametrize("method", READING)
def test_twenty_steps_give_the_same_weights_however_the_rows_are_divided(method, divided, config, tmp_path):
    results = []
    for name, folder in divided.items():
        run = replace(
            config,
            method=method,
            method_config=settings_for(method, "findings"),
            shards=str(folder),
            knowledge=str(folder / "knowledge.parquet"),
            output=str(tmp_path / name),
            max_steps=STEPS,
            checkpoint_every=STEPS,
            augmentation={"crop_scale": 0.8, "horizontal_flip": 0.5, "flip_sides": "swap"},
        )
        results.append(train(run))
    assert Manifest.load(divided["at once"]).digest == Manifest.load(divided["grown"]).digest
    first, second = results
    assert first["steps"] == STEPS
    assert first["checkpoint_digest"] == second["checkpoint_digest"] != first["untrained_digest"]
