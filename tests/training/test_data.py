"""Batches: exact permutations by (seed, epoch), targets as MedKLIP's label matrix."""

from dataclasses import replace

import numpy as np
import pytest

from shards.reader import ShardReader
from training.data import TrainingData
from training.schedule import warmup_cosine


@pytest.fixture
def data(config) -> TrainingData:
    return TrainingData.open(config)


def test_an_epoch_shows_every_pair_once(data):
    steps = len(data) // 8
    seen = np.concatenate([data.batch_rows(step, 8, seed=0) for step in range(steps)])
    assert len(set(seen)) == len(seen) == steps * 8


def test_epochs_and_seeds_shuffle_differently_and_repeatably(data):
    steps = len(data) // 8
    first = data.batch_rows(0, 8, 0)
    assert np.array_equal(first, data.batch_rows(0, 8, 0))
    assert not np.array_equal(first, data.batch_rows(steps, 8, 0))
    assert not np.array_equal(first, data.batch_rows(0, 8, 1))


def test_pairs_without_a_triplet_are_left_out(data, shards):
    whole = ShardReader(shards).read("train")
    assert set(data.rows) == set(whole.triplets.row)
    assert len(data) < len(whole)


def test_targets_are_the_triplets_in_a_matrix(data):
    rows = data.rows[:20]
    matrix = data.targets(rows).numpy()
    assert matrix.shape == (20, 5, 4)
    triplets = data.data.triplets
    literal = np.full_like(matrix, -1)
    for index, row in enumerate(rows):
        for entity, position, exists in zip(*(part[triplets.row == row] for part in triplets[1:]), strict=True):
            literal[index, position, entity] = max(literal[index, position, entity], exists)
    assert np.array_equal(matrix, literal)


def test_the_schedule_warms_up_then_falls_to_its_end(config):
    rates = [warmup_cosine(step, 100, 10, 1e-3, 1e-5) for step in range(101)]
    assert rates[0] == pytest.approx(1e-4)
    assert rates[10] == pytest.approx(1e-3)
    assert rates[100] == pytest.approx(1e-5)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert replace(config, warmup_epochs=0.0).warmup_epochs == 0
