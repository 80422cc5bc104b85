"""Hits and precision of 5x200 equal a literal count and torchmetrics' numbers; ties are lost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.retrieval import retrieval_hit_rate, retrieval_precision

from evaluation.errors import EvaluationError
from evaluation.metrics.classification import bootstrap
from evaluation.metrics.same_class import DEPTHS, PAIRS, rank_right, score_same_class


def by_name(values):
    return {value.metric: value for value in values if value.class_name == PAIRS}


def make(seed, pairs=25):
    """Similarities with no two alike, classes and patients."""
    rng = np.random.default_rng(seed)
    similarities = rng.permutation(np.arange(pairs * pairs, dtype=float)).reshape(pairs, pairs)
    return similarities, rng.integers(0, 5, pairs), rng.integers(0, 11, pairs).astype(str)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_numbers_equal_torchmetrics(seed):
    similarities, categories, subjects = make(seed)
    values = by_name(score_same_class(similarities, categories, subjects, resamples=3))
    for direction, scores in (("", similarities), ("text_to_image_", similarities.T)):
        for depth in DEPTHS:
            rows = [
                (torch.tensor(row), torch.tensor(categories == own))
                for row, own in zip(scores, categories, strict=True)
            ]
            hits = np.mean([float(retrieval_hit_rate(row, right, depth)) for row, right in rows])
            precision = np.mean([float(retrieval_precision(row, right, depth)) for row, right in rows])
            assert values[f"{direction}class_hit_at_{depth}"].value == pytest.approx(hits, abs=1e-9)
            assert values[f"{direction}class_precision_at_{depth}"].value == pytest.approx(
                precision, abs=1e-6
            )  # float32
        assert values[f"{direction}class_hit_at_1"].value == values[f"{direction}class_precision_at_1"].value


def test_intervals_are_those_of_resampled_patients():
    similarities, categories, subjects = make(3)
    values = by_name(score_same_class(similarities, categories, subjects, seed=4, resamples=50))
    ranked = np.argsort(-similarities, axis=1)[:, :5]
    shares = (categories[ranked] == categories[:, None]).mean(axis=1)
    value = values["class_precision_at_5"]
    assert (value.low, value.high) == pytest.approx(bootstrap(np.mean, [shares], subjects, 50, seed=4), abs=1e-9)
    assert value.n == 25


def test_chance_is_that_of_random_orders():
    _, categories, subjects = make(5)
    values = by_name(score_same_class(make(6)[0], categories, subjects, resamples=2))
    rng = np.random.default_rng(0)
    orders = np.array([rng.permutation(25)[:5] for _ in range(4000)])
    hits = np.mean([(categories[orders] == own).any(axis=1).mean() for own in categories])
    assert values["class_hit_at_5_chance"].value == pytest.approx(hits, abs=0.01)
    share = np.mean([(categories == own).mean() for own in categories])
    assert values["class_precision_chance"].value == pytest.approx(share, abs=1e-9)


def test_ties_are_lost():
    right = np.array([[True, False, False]])
    np.testing.assert_array_equal(rank_right(np.zeros((1, 3)), right), [[False, False, True]])
    np.testing.assert_array_equal(rank_right(np.array([[1.0, 1.0, 0.0]]), right), [[False, True, False]])
    same = by_name(score_same_class(np.ones((12, 12)), np.arange(12) % 6, np.arange(12).astype(str), resamples=2))
    assert same["class_hit_at_10"].value == 0


def test_what_takes_in_everything_is_not_scored_and_wrong_input_is_said():
    similarities, categories, subjects = make(0, pairs=4)
    values = by_name(score_same_class(similarities, categories, subjects, resamples=2))
    assert values["class_hit_at_1"].value is not None
    assert values["class_hit_at_5"].value is values["class_precision_at_10"].value is None
    with pytest.raises(EvaluationError, match="do not fit 4 pairs of 3 patients"):
        score_same_class(similarities, categories, subjects[:3])
    with pytest.raises(EvaluationError, match="diverged"):
        score_same_class(np.full((4, 4), np.inf), categories, subjects)
