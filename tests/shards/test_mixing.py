"""Shares of cohorts in batches are exact, whichever batch is asked for first."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.errors import ShardError
from shards.mixing import Mixture, expect_weights, whole_weights

GROUPS = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 7)), min_size=2, max_size=4)  # pairs and weight


def mix(sizes, weights, batch_size=4, seed=0, last="across"):
    """The mixture, and the cohort of every pair."""
    of = np.repeat(np.arange(len(sizes)), sizes)
    shuffled = np.random.default_rng(0).permutation(len(of))  # pairs of a cohort need not lie together
    of = of[shuffled]
    groups = [np.flatnonzero(of == group) for group in range(len(sizes))]
    return Mixture(groups, weights, batch_size, seed, last), of


@settings(deadline=None)
@given(GROUPS, st.integers(1, 9), st.integers(0, 3))
def test_every_round_has_the_exact_shares(groups, batch_size, seed):
    sizes, weights = zip(*groups, strict=True)
    mixture, of = mix(sizes, weights, batch_size, seed)
    whole = sum(weights)
    stream = np.concatenate([mixture.batch(number) for number in range(-(-5 * whole // batch_size))])
    for start in range(0, 5 * whole, whole):
        counts = np.bincount(of[stream[start : start + whole]], minlength=len(sizes))
        assert counts.tolist() == list(weights)


@settings(deadline=None)
@given(GROUPS, st.integers(1, 60), st.integers(0, 200))
def test_every_window_has_its_share_to_within_the_number_of_cohorts(groups, length, start):
    sizes, weights = zip(*groups, strict=True)
    mixture, of = mix(sizes, weights, batch_size=1)
    window = np.concatenate([mixture.batch(start + number) for number in range(length)])
    counts = np.bincount(of[window], minlength=len(sizes))
    assert (np.abs(counts - length * np.array(weights) / sum(weights)) <= len(sizes)).all()


@settings(deadline=None)
@given(GROUPS, st.integers(0, 3))
def test_a_cohort_shows_all_of_its_pairs_before_any_again(groups, seed):
    sizes, weights = zip(*groups, strict=True)
    mixture, of = mix(sizes, weights, 1, seed)
    rounds = 1 + max(3 * size // weight + 1 for size, weight in groups)
    stream = np.concatenate([mixture.batch(number) for number in range(rounds * sum(weights))])
    for group, size in enumerate(sizes):
        own = stream[of[stream] == group]
        for epoch in range(3):
            assert sorted(own[epoch * size : (epoch + 1) * size]) == np.flatnonzero(of == group).tolist()


@pytest.mark.parametrize("last", ["across", "drop", "keep"])
def test_any_batch_can_be_asked_for_first(last):
    stream = [mix((7, 20), (3, 1), 5, 1, last)[0].batch(number) for number in range(14)]
    again = mix((7, 20), (3, 1), 5, 1, last)[0]
    assert all(np.array_equal(again.batch(number), stream[number]) for number in (13, 0, 6, 5, 9))
    sizes = [len(batch) for batch in stream]
    assert sizes == ([5, 5, 5, 5, 5, 2] * 3)[:14] if last == "keep" else sizes == [5] * 14


def test_seeds_and_epochs_shuffle_differently():
    first, other = (mix((30, 30), (1, 1), 60, seed)[0] for seed in (0, 1))
    assert not np.array_equal(first.batch(0), other.batch(0))
    assert not np.array_equal(first.batch(0), first.batch(1))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=4), st.sampled_from([1, 2, 0.5, 0.1]))
def test_the_ratio_of_weights_counts(weights, factor):
    whole = whole_weights([weight * factor for weight in weights]) if factor >= 1 else whole_weights(
        [round(weight * factor, 3) for weight in weights]
    )  # fmt: skip
    assert np.gcd.reduce(whole) == 1
    assert all(one * weights[0] == whole[0] * weight for one, weight in zip(whole, weights, strict=True))


def test_a_ratio_that_nobody_means_is_one_sentence():
    with pytest.raises(ShardError, match="round them, as to 3 and 1"):
        whole_weights([0.123456, 1])


@pytest.mark.parametrize(
    ("weights", "cohorts", "said"),
    [
        ({"a": 1}, ["a"], "the shards are of a alone"),
        ({"open": 1, "mimic_cxr": 1}, ["mimic_cxr", "open_i"], r"names open \(did you mean `open_i`\?\)"),
        ({"mimic_cxr": 1}, ["mimic_cxr", "open_i"], "has none for open_i"),
    ],
)
def test_weights_of_other_cohorts_are_one_sentence(weights, cohorts, said):
    with pytest.raises(ShardError, match=said):
        expect_weights(weights, cohorts)
