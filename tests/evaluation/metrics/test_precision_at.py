"""Precision at k equals torchmetrics', and candidates are exclusive."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.retrieval import retrieval_precision

from evaluation.errors import EvaluationError
from evaluation.metrics.precision_at import DEPTHS, choose_candidates, score_rankings


def macro_free(values):
    return {(value.metric, value.class_name): value for value in values if value.class_name != "macro"}


def expected(depth, similarities, categories, queries, category, weights, query_weights):
    """torchmetrics' precision of each query over the images that were drawn, as often as they were."""
    rows = np.repeat(np.arange(len(categories)), weights)
    shares, drawn = [], []
    for query in np.flatnonzero(queries == category):
        scores = torch.from_numpy(similarities[rows, query])
        share = retrieval_precision(scores, torch.from_numpy(categories[rows] == category), depth)  # float32
        shares.append(round(float(share) * depth) / depth)
        drawn.append(query_weights[query])
    return np.average(shares, weights=drawn) if sum(drawn) else np.nan


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([20, 70, 400]))
def test_precision_equals_torchmetrics_in_every_resample(seed, images):
    rng = np.random.default_rng(seed)
    categories, queries = rng.integers(0, 3, images), rng.integers(0, 3, 5)
    # no two alike: torchmetrics leaves open which of equal ones comes first
    similarities = rng.permuted(np.arange(images * 5.0).reshape(images, 5), axis=0)
    weights = rng.integers(0, 4, (4, images)).astype(np.float32)
    query_weights = rng.integers(0, 3, (4, 5)).astype(np.float32)
    values = macro_free(score_rankings(similarities, categories, queries, list("abc"), weights, query_weights))
    for depth in DEPTHS:
        for category, name in enumerate("abc"):
            value = values[f"precision_at_{depth}", name]
            if (categories == category).sum() < depth or not (queries == category).any():
                assert value.value is None
                continue
            case = similarities, categories, queries, category
            ones = np.ones(images, int), np.ones(5)
            assert value.value == pytest.approx(expected(depth, *case, *ones), abs=1e-9)
            resampled = np.full(4, np.nan) if value.resampled is None else value.resampled
            for found, drawn, asked in zip(resampled, weights.astype(int), query_weights, strict=True):
                enough = drawn[categories == category].sum() >= depth
                again = expected(depth, *case, drawn, asked) if enough else np.nan
                assert found == pytest.approx(again, abs=1e-9, nan_ok=True)


def test_a_resample_that_drew_few_of_the_first_images_is_read_on():
    categories, drawn = np.repeat([1, 0], [150, 150]), np.repeat([1.0, 0, 1], [10, 190, 100])[None]
    ranked = -np.arange(300.0)[:, None]
    values = macro_free(score_rankings(ranked, categories, np.array([0]), ["a", "b"], drawn, np.ones((1, 1))))
    assert values["precision_at_50", "a"].resampled == pytest.approx([40 / 50])


def test_equal_similarities_keep_the_order_of_the_candidates():
    categories = np.array([0, 1] * 10)
    ones = np.ones((1, 20)), np.ones((1, 1))
    values = macro_free(score_rankings(np.zeros((20, 1)), categories, np.array([0]), ["a", "b"], *ones))
    assert values["precision_at_5", "a"].value == 3 / 5


def test_wrong_shapes_are_said():
    with pytest.raises(EvaluationError, match="do not fit 4 candidates and 2 queries"):
        score_rankings(np.zeros((4, 3)), np.zeros(4, int), np.zeros(2, int), ["a"], np.ones((1, 4)), np.ones((1, 2)))


def test_candidates_are_positive_for_one_category_alone():
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [np.nan, 1, np.nan], [1, -1, 0], [0, 0, 1]])
    chosen = choose_candidates(labels)
    assert dict(zip(chosen.rows.tolist(), chosen.categories.tolist(), strict=True)) == {0: 0, 3: 1, 5: 2}


def test_no_more_candidates_than_asked_for_and_the_same_for_every_network():
    labels = np.eye(2)[np.random.default_rng(0).integers(0, 2, 300)]
    chosen = choose_candidates(labels, per_category=20)
    assert Counter(chosen.categories.tolist()) == {0: 20, 1: 20}
    np.testing.assert_array_equal(chosen.rows, choose_candidates(labels, per_category=20).rows)
    assert set(chosen.rows) != set(choose_candidates(labels, per_category=20, seed=1).rows)
