"""Levels are told apart by one softmax, and each is scored against the rest at a threshold of the validate split."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_recall_curve, roc_auc_score

from evaluation.dataset import Images
from evaluation.learning.annotated import LabelledImages, prepare
from evaluation.learning.classifier import tune
from evaluation.tasks.fine_tune import FineTuneSettings
from evaluation.tasks.grading import METRICS, fit_and_score
from tests.evaluation.small_method import SIZE, small_method

LEVELS = ["none", "mild", "severe"]
QUICK = FineTuneSettings(learning_rate=0.02, batch_size=16, epochs=8, crop_scale=0.9)


def split(count, seed, levels=3):
    """The higher the level, the brighter the image."""
    rng = np.random.default_rng(seed)
    grades = rng.integers(0, levels, count)
    pixels = (rng.integers(0, 150, (count, SIZE, SIZE)) + 15 * grades[:, None, None]).astype(np.uint8)
    subjects = np.array([f"{seed}-{row // 2}" for row in range(count)])
    return LabelledImages(Images.of_array(pixels, subjects), np.eye(3)[grades])


def by_name(values):
    return {(value.metric, value.class_name): value for value in values}


def test_every_level_is_scored_against_the_rest():
    parts = split(90, 0), split(40, 1), split(70, 2)
    values = by_name(fit_and_score(small_method(), *parts, LEVELS, QUICK, repeat=0, resamples=100))
    classifier = tune(small_method(), *prepare(*parts, LEVELS, exclusive=True)[:2], QUICK, repeat=0, exclusive=True)
    validated, scores = (classifier.probabilities(part.pixels, exclusive=True) for part in parts[1:])
    for column, level in enumerate(LEVELS):
        precision, recall, thresholds = precision_recall_curve(parts[1].labels[:, column], validated[:, column])
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        said, truth = scores[:, column] >= thresholds[f1[:-1].argmax()], parts[2].labels[:, column]
        expected = {
            "auroc": roc_auc_score(truth, scores[:, column]),
            "f1": f1_score(truth, said),
            "accuracy": accuracy_score(truth, said),
        }
        for metric in METRICS:
            value = values[metric, level]
            assert value.value == pytest.approx(expected[metric], abs=1e-9)
            assert value.low <= value.value <= value.high
    assert values["auroc", "macro"].value > 0.8
    assert values["f1", "macro"].value == pytest.approx(np.mean([values["f1", level].value for level in LEVELS]))


def test_a_level_that_is_not_in_train_cannot_be_scored():
    parts = split(60, 0, levels=2), split(40, 1), split(70, 2)
    values = by_name(fit_and_score(small_method(), *parts, LEVELS, QUICK, repeat=0, resamples=20))
    assert [values[metric, "severe"].value for metric in METRICS] == [None] * 3
    assert [values[metric, "macro"].n for metric in METRICS] == [2] * 3


def test_a_level_that_is_not_in_validate_keeps_its_auroc():
    parts = split(90, 0), split(40, 1, levels=2), split(70, 2)
    values = by_name(fit_and_score(small_method(), *parts, LEVELS, QUICK, repeat=0, resamples=20))
    assert values["auroc", "severe"].value > 0.7
    assert values["f1", "severe"].value is values["accuracy", "severe"].value is None


def test_without_a_validate_split_there_is_an_auroc():
    parts = split(60, 0), split(0, 1), split(70, 2)
    values = by_name(fit_and_score(small_method(), *parts, LEVELS, QUICK, repeat=0, resamples=20))
    assert values["auroc", "macro"].value > 0.7
    assert values["f1", "macro"].value is None
