"""Training on a pool: exact shares of its cohorts, and the same weights however often it is killed."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.saved import ModelCard
from shards.errors import ShardError
from shards.manifest import Manifest
from shards.pool import LEFT_OUT, Pool
from tests.training.conftest import shard_rows, tiny_config, write_shards
from tests.training.test_loop import KilledError, killed_after, weights
from training.errors import TrainingError
from training.loop import Run, train
from training.parallel.group import Group
from training.state.origin import Origin

WEIGHTS = {"large": 1, "small": 3}


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> Path:
    """A large and a small cohort with the same ids of images."""
    folder = tmp_path_factory.mktemp("pool")
    for name, rows in (("large", 64), ("small", 24)):
        there = write_shards(folder / name, shard_rows(rows))
        replace(Manifest.load(there), cohort=name).write(there)
    Pool.write(folder / "pool", {name: folder / name for name in WEIGHTS}, LEFT_OUT.empty_table(), "test")
    (folder / "pool" / "knowledge.parquet").write_bytes((folder / "large" / "knowledge.parquet").read_bytes())
    return folder / "pool"


def config(pool, output, **settings):
    return replace(tiny_config(pool, output), **settings)


def start(settings):
    return Run(settings, Origin.of(settings), Group(torch.device("cpu")), None)


def cohorts_of_batches(run, batches):
    """Which cohort every pair of some batches is from."""
    of = run.data.reader.cohorts("train")
    return [of[run.pairs(number).rows] for number in range(batches)]


def test_every_batch_has_the_exact_shares(pool, tmp_path):
    run = start(config(pool, tmp_path / "run", weights=WEIGHTS))
    for batch in cohorts_of_batches(run, 30):
        assert Counter(batch.tolist()) == {"large": 2, "small": 6}
    other = start(config(pool, tmp_path / "other", weights={"large": 3, "small": 2}, batch_size=10))
    assert all(Counter(batch.tolist()) == {"large": 6, "small": 4} for batch in cohorts_of_batches(other, 8))


def test_without_weights_every_image_is_shown_once(pool, tmp_path):
    run = start(config(pool, tmp_path / "run"))
    rows = np.concatenate([run.pairs(number).rows for number in range(len(run.data))])
    once = rows[: len(run.data)]
    assert sorted(once) == sorted(run.data.rows)
    assert Counter(run.data.cohorts().tolist()) == Counter(run.data.reader.cohorts("train")[once].tolist())


def test_a_pair_has_the_image_and_the_findings_of_its_cohort(pool, tmp_path):
    run = start(config(pool, tmp_path / "run", weights=WEIGHTS, augmentation={"horizontal_flip": 0.0}))
    columns, pixels = run.data.reader.columns("train", ["triplets"]), run.data.reader.pixels("train")
    pairs = run.pairs(3)
    np.testing.assert_array_equal(pairs.batch.images[:, 0].numpy(), pixels.read(pairs.rows))
    for row, targets in zip(pairs.rows.tolist(), pairs.batch.targets.numpy(), strict=True):
        (said,) = columns["triplets"][row].as_py()
        assert targets[said["position"], said["entity"]] == said["exists"]
        bright = pixels.read(np.array([row]))[0, 8:24].mean(0)
        present = {0: bright[18:28].mean() > 200, 1: bright[4:14].mean() > 200, 2: False}
        assert present[said["position"]] == bool(said["exists"])


def test_a_killed_run_on_a_pool_ends_in_the_same_weights(pool, tmp_path):
    whole, again = (config(pool, tmp_path / name, weights=WEIGHTS) for name in ("whole", "again"))
    train(whole)
    for step in (3, 9):
        with pytest.raises(KilledError):
            train(again, killed_after(step))
    assert train(again)["resumed_from"] == 8
    expected, resumed = weights(whole), weights(again)
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    card = ModelCard.load(tmp_path / "whole")
    assert {name: about["data_version"] for name, about in card.trained_on.items()} == Pool.load(pool).data_versions
    assert json.loads((tmp_path / "whole" / "origin.json").read_text())["data_version"] == Pool.load(pool).digest


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"large": 1, "smal": 1}, r"names smal \(did you mean `small`\?\), which is not one of the pool"),
        ({"large": 1}, "has none for small"),
        ({"large": 1, "small": 40}, "takes 32 pairs of each batch from small, which has 18"),
    ],
)
def test_weights_that_do_not_fit_are_one_sentence(pool, tmp_path, given, said):
    with pytest.raises((ShardError, TrainingError), match=said):
        start(config(pool, tmp_path / "run", weights=given, batch_size=8 if "small" not in given else 8 * 4))


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf"), "3", True, None])
def test_a_weight_is_a_number_above_0(pool, tmp_path, weight):
    with pytest.raises(TrainingError, match=r"gives small the weight .* weights are numbers above 0"):
        config(pool, tmp_path, weights={"large": 1, "small": weight})


def test_weights_of_one_cohort_are_one_sentence(pool, tmp_path):
    with pytest.raises(ShardError, match="the shards are of large alone"):
        start(config(pool.parent / "large", tmp_path / "run", weights={"large": 1}))
