import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference
from torchmetrics.functional import classification as torch_reference

from evaluation.metrics.classification import (
    auroc,
    aurocs,
    best_threshold,
    bootstrap,
    confusion,
    image_weights,
    patient_weights,
    rates,
    ratio,
    weighted_auroc,
)

REFERENCES = {
    "f1": lambda y, p, w: reference.f1_score(y, p, sample_weight=w, zero_division=0),
    "accuracy": lambda y, p, w: reference.accuracy_score(y, p, sample_weight=w),
    "precision": lambda y, p, w: reference.precision_score(y, p, sample_weight=w, zero_division=0),
    "recall": lambda y, p, w: reference.recall_score(y, p, sample_weight=w, zero_division=0),
    "specificity": lambda y, p, w: reference.recall_score(y, p, sample_weight=w, pos_label=0, zero_division=0),
    "mcc": lambda y, p, w: reference.matthews_corrcoef(y, p, sample_weight=w),
}


@st.composite
def cases(draw):
    """Labels, scores with many ties, row weights with zeros."""
    n = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = (rng.random(n) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))).astype(np.float32)
    scores = rng.integers(0, draw(st.sampled_from([1, 3, 1000])) + 1, n) / 7
    return labels, scores, rng.integers(0, 4, (6, n))


@settings(max_examples=150, deadline=None)
@given(cases())
def test_weighted_auroc_equals_scikit_learn(case):
    labels, scores, weights = case
    for area, row in zip(weighted_auroc(labels, scores, weights), weights, strict=True):
        if (row * labels).sum() and (row * (1 - labels)).sum():
            assert area == pytest.approx(reference.roc_auc_score(labels, scores, sample_weight=row), abs=1e-9)
        else:
            assert np.isnan(area)


def test_weighted_auroc_in_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    labels, scores, weights = rng.integers(0, 2, 50), rng.random(50), rng.integers(0, 3, (20, 50))
    whole = weighted_auroc(labels, scores, weights)
    monkeypatch.setattr("evaluation.metrics.classification.BLOCK", 150)
    np.testing.assert_array_equal(weighted_auroc(labels, scores, weights), whole)


@settings(max_examples=25, deadline=None)
@given(cases())
def test_rates_equal_scikit_learn(case):
    labels, scores, weights = case
    predicted = scores >= np.median(scores)
    found = rates(confusion(predicted[:, None], labels[:, None], weights))
    for metric, function in REFERENCES.items():
        for index, row in enumerate(weights):
            if row.sum():
                with warnings.catch_warnings(action="ignore"):
                    expected = function(labels, predicted, row)
                assert found[metric][index, 0] == pytest.approx(expected, abs=1e-9), metric


@settings(max_examples=40, deadline=None)
@given(cases())
def test_rates_and_area_of_whole_samples_equal_torchmetrics(case):
    labels, scores, _ = case
    predicted = scores >= np.median(scores)
    found = rates(confusion(predicted[:, None], labels[:, None], np.ones((1, len(labels)))))
    said, true = torch.from_numpy(predicted).int(), torch.from_numpy(labels).int()
    references = {
        "f1": torch_reference.binary_f1_score,
        "accuracy": torch_reference.binary_accuracy,
        "precision": torch_reference.binary_precision,
        "recall": torch_reference.binary_recall,
        "specificity": torch_reference.binary_specificity,
    }
    for metric, function in references.items():
        assert found[metric][0, 0] == pytest.approx(float(function(said, true)), abs=1e-6), metric  # theirs is float32
    if 0 < labels.sum() < len(labels):
        area = float(torch_reference.binary_auroc(torch.from_numpy(scores) / 1000, true))
        assert auroc(labels, scores) == pytest.approx(area, abs=1e-6)


def test_areas_of_several_classes_equal_scikit_learn():
    rng = np.random.default_rng(3)
    labels = rng.choice([0, 1, np.nan], (60, 4), p=[0.5, 0.3, 0.2])
    labels[:, 3] = np.where(np.isnan(labels[:, 3]), np.nan, 0)  # one class is never there
    scores, weights = rng.integers(0, 6, (60, 4)) / 6, rng.integers(0, 3, (5, 60))
    points, resampled = aurocs(labels, scores, weights)
    for column in range(3):
        known = ~np.isnan(labels[:, column])
        case = labels[known, column], scores[known, column]
        assert points[column] == pytest.approx(reference.roc_auc_score(*case), abs=1e-9)
        for area, row in zip(resampled[:, column], weights[:, known], strict=True):
            assert area == pytest.approx(reference.roc_auc_score(*case, sample_weight=row), abs=1e-9)
    assert np.isnan(points[3])
    assert np.isnan(resampled[:, 3]).all()


def test_unknown_labels_are_in_no_count():
    labels = np.array([[1], [0], [np.nan], [np.nan]], np.float32)
    predicted = np.array([[True], [True], [True], [False]])
    counts = confusion(predicted, labels, np.ones((1, 4)))
    assert [float(count[0, 0]) for count in counts] == [1, 1, 0, 0]


def test_auroc_leaves_unknown_labels_out():
    labels = np.array([1, 0, np.nan, 1, 0])
    scores = np.array([0.9, 0.1, 0.0, 0.3, 0.5])
    assert auroc(labels, scores) == pytest.approx(0.75)
    assert np.isnan(auroc(np.array([1, 1, np.nan]), scores[:3]))
    assert np.isnan(auroc(np.array([np.nan]), scores[:1]))


@settings(max_examples=100, deadline=None)
@given(cases())
def test_best_threshold_is_the_best_of_all(case):
    labels, scores, _ = case
    criteria = {
        "f1": lambda y, p: reference.f1_score(y, p, zero_division=0),
        "mcc": reference.matthews_corrcoef,
        "youden": reference.balanced_accuracy_score,
    }
    for criterion, function in criteria.items():
        threshold = best_threshold(labels, scores, criterion)
        if 0 < labels.sum() < len(labels):
            best = max(function(labels, scores >= level) for level in np.unique(scores))
            assert function(labels, scores >= threshold) == pytest.approx(best, abs=1e-12)
        else:
            assert np.isnan(threshold)


def test_mcc_of_many_images_does_not_overflow():
    labels = np.tile([0.0, 1.0], 200_000)
    assert best_threshold(labels, labels, "mcc") == 1


def test_images_are_drawn_one_by_one():
    weights = image_weights(6, [np.random.RandomState(seed) for seed in range(500)])
    np.testing.assert_array_equal(weights.sum(1), 6)
    np.testing.assert_allclose(weights.mean(0), 1, atol=0.15)
    np.testing.assert_array_equal(weights[3:4], image_weights(6, [np.random.RandomState(3)]))


def test_patients_are_drawn_whole_and_as_often_as_there_are_patients():
    subjects = np.array(["b", "a", "b", "c", "a", "b"])
    weights = patient_weights(subjects, 500, seed=3)
    assert weights.shape == (500, 6)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(1), 3)
    np.testing.assert_array_equal(weights, patient_weights(subjects, 500, seed=3))
    assert (weights != patient_weights(subjects, 500, seed=4)).any()
    np.testing.assert_allclose(weights.mean(0), 1, atol=0.15)


def test_bootstrap_equals_a_literal_loop():
    rng = np.random.default_rng(1)
    subjects = rng.integers(0, 12, 40).astype(str)
    labels, scores = rng.integers(0, 2, 40).astype(float), rng.random(40)
    names = np.unique(subjects)
    drawn = np.random.default_rng(5).integers(len(names), size=(100, len(names)))
    areas = []
    for sample in drawn:
        rows = np.concatenate([np.flatnonzero(subjects == names[patient]) for patient in sample])
        areas.append(reference.roc_auc_score(labels[rows], scores[rows]))
    expected = np.percentile(areas, [2.5, 97.5])
    assert bootstrap(auroc, (labels, scores), subjects, n=100, seed=5) == pytest.approx(expected, abs=1e-12)
    fast = weighted_auroc(labels, scores, patient_weights(subjects, 100, seed=5))
    np.testing.assert_allclose(fast, areas, atol=1e-12)


def test_ratio_of_nothing_is_zero():
    np.testing.assert_array_equal(ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0])), [0.5, 0.0])
