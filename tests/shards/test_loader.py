"""Exact permutations from any batch on, and batches in their order whatever the threads do."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.loader import Shuffle, loading


@given(pairs=st.integers(1, 50), batch_size=st.integers(1, 20), seed=st.integers(0, 5))
def test_every_epoch_is_an_exact_permutation(pairs, batch_size, seed):
    shuffle = Shuffle(pairs, batch_size, seed)
    stream = np.concatenate([shuffle.batch(number) for number in range(3 * pairs // batch_size + 1)])
    for epoch in range(len(stream) // pairs):
        assert sorted(stream[epoch * pairs : (epoch + 1) * pairs]) == list(range(pairs))


def test_epochs_and_seeds_shuffle_differently_and_repeatably():
    shuffle = Shuffle(64, 8, seed=0)
    first = shuffle.batch(0)
    assert np.array_equal(first, Shuffle(64, 8, seed=0).batch(0))
    assert not np.array_equal(first, shuffle.batch(8))
    assert not np.array_equal(first, Shuffle(64, 8, seed=1).batch(0))
    assert shuffle.batches_per_epoch == 8


def test_any_batch_can_be_asked_for_first():
    stream = [Shuffle(10, 4, 0).batch(number) for number in range(9)]
    shuffle = Shuffle(10, 4, 0)
    assert all(np.array_equal(shuffle.batch(number), stream[number]) for number in (8, 2, 5, 0))


def test_batches_come_in_order_from_the_first_asked_for():
    def make(number: int) -> int:
        time.sleep(0.01 * (number % 3))
        return number

    with loading(make, first=5, threads=3) as loader:
        assert [next(loader) for _ in range(12)] == list(range(5, 17))


def test_what_goes_wrong_in_a_thread_is_raised_at_its_batch():
    def make(number: int) -> int:
        return 1 // (number - 2)

    with loading(make) as loader:
        next(loader), next(loader)
        with pytest.raises(ZeroDivisionError):
            next(loader)
