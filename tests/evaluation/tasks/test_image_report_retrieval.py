"""Recall equals torchmetrics' hit rate, ties are lost, and reports of the same words are equally right."""

import time
from math import comb

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.retrieval import retrieval_hit_rate

from evaluation.errors import EvaluationError
from evaluation.metrics.classification import bootstrap, patient_weights
from evaluation.tasks.image_report_retrieval import DEPTHS, ranks_of_right, score


def by_name(values):
    return {value.metric: value for value in values if value.class_name == "reports"}


def make(seed, images=30, words=8, reports=14):
    """Reports of few different words, some without an image; similarities with no two alike."""
    rng = np.random.default_rng(seed)
    texts = [f"report {number}" for number in rng.integers(0, words, reports)]
    similarities = rng.permutation(np.arange(images * reports, dtype=float)).reshape(images, reports)
    return similarities, rng.integers(0, reports, images), texts, rng.integers(0, 12, images).astype(str)


def hits(similarities, report_of, texts, depth):
    """torchmetrics' hit rate of every image, and of every report that has an image."""
    texts = np.array(texts)
    right = torch.from_numpy(texts[report_of][:, None] == texts)
    scores = torch.from_numpy(similarities)
    asking = np.unique(report_of)
    images = [float(retrieval_hit_rate(scores[row], right[row], depth)) for row in range(len(scores))]
    reports = [float(retrieval_hit_rate(scores[:, column], right[:, column], depth)) for column in asking]
    return np.array(images), np.array(reports)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_recall_equals_torchmetrics(seed):
    case = make(seed)
    values = by_name(score(*case, resamples=3))
    for depth in DEPTHS:
        images, reports = hits(*case[:3], depth)
        assert values[f"recall_at_{depth}"].value == pytest.approx(images.mean(), abs=1e-9)
        assert values[f"text_to_image_recall_at_{depth}"].value == pytest.approx(reports.mean(), abs=1e-9)
        assert values[f"recall_at_{depth}"].n == 30
        assert values[f"text_to_image_recall_at_{depth}"].n == len(reports)


def test_intervals_are_those_of_resampled_patients():
    similarities, report_of, texts, subjects = make(3)
    values = by_name(score(similarities, report_of, texts, subjects, resamples=50, seed=4))
    images, reports = hits(similarities, report_of, texts, 5)
    value = values["recall_at_5"]
    assert (value.low, value.high) == pytest.approx(bootstrap(np.mean, [images], subjects, 50, seed=4), abs=1e-9)
    first = [int(np.flatnonzero(report_of == report)[0]) for report in np.unique(report_of)]
    resampled = [
        np.average(reports, weights=weights[first]) if weights[first].any() else np.nan
        for weights in patient_weights(subjects, 50, seed=4)
    ]
    np.testing.assert_allclose(values["text_to_image_recall_at_5"].resampled, resampled, atol=1e-9)


def test_chance_is_the_share_of_orders_that_have_a_right_one_among_the_first():
    similarities, report_of, texts, subjects = make(5)
    values = by_name(score(similarities, report_of, texts, subjects, resamples=2))
    right = np.array([[texts[own] == text for text in texts] for own in report_of])
    for name, asked in (("recall_at", right), ("text_to_image_recall_at", right.T[np.unique(report_of)])):
        for depth in DEPTHS:
            ways = [1 - comb((~row).sum(), depth) / comb(len(row), depth) for row in asked]
            assert values[f"{name}_{depth}_chance"].value == pytest.approx(np.mean(ways), abs=1e-9)


def test_ties_are_lost():
    subjects = np.arange(12).astype(str)
    texts = [f"report {number}" for number in range(12)]
    same = by_name(score(np.ones((12, 12)), np.arange(12), texts, subjects, resamples=5))
    assert {name: value.value for name, value in same.items() if "chance" not in name} == dict.fromkeys(
        [f"{way}recall_at_{depth}" for way in ("", "text_to_image_") for depth in DEPTHS], 0.0
    )
    found = by_name(score(np.eye(12), np.arange(12), texts, subjects, resamples=5))
    assert {value.value for name, value in found.items() if "chance" not in name} == {1.0}


def test_the_same_words_are_equally_right():
    similarities = np.array([[0.1, 0.9, 0.5], [0.2, 0.3, 0.9]])
    right = np.array([[True, True, False], [True, True, False]])
    np.testing.assert_array_equal(ranks_of_right(similarities, right), [1, 2])
    alike = by_name(score(similarities, np.array([0, 1]), ["no", "no", "yes"], ["p", "q"], resamples=3))
    apart = by_name(score(similarities, np.array([0, 1]), ["no", "none", "yes"], ["p", "q"], resamples=3))
    assert (alike["recall_at_1"].value, apart["recall_at_1"].value) == (0.5, 0.0)


def test_what_takes_in_everything_is_not_scored():
    values = by_name(score(np.eye(5), np.arange(5), list("abcde"), list("pqrst"), resamples=3))
    assert values["recall_at_1"].value == 1
    assert {values[f"recall_at_{depth}{end}"].value for depth in (5, 10) for end in ("", "_chance")} == {None}
    nobody = score(np.empty((0, 0)), np.empty(0, int), [], [], resamples=3)
    assert {value.value for value in nobody} == {None}


def test_wrong_input_is_said():
    with pytest.raises(EvaluationError, match="do not fit 2 images of 2 patients and 3 reports"):
        score(np.eye(2), np.arange(2), list("abc"), list("pq"))
    with pytest.raises(EvaluationError, match="diverged"):
        score(np.full((2, 2), np.nan), np.arange(2), list("ab"), list("pq"))


def test_a_thousand_resamples_of_500_images_take_less_than_two_seconds():
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    score(rng.random((500, 500)), np.arange(500), [str(number) for number in range(500)], np.arange(500) // 2)
    assert time.perf_counter() - start < 2
