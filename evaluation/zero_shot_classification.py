"""Zero-shot classification: each class on its own, every number with a 95 % interval by patient.

AUROC needs no threshold. F1, accuracy, precision, recall, specificity and MCC are taken at the threshold with
the best F1 on the validate split; the published MedKLIP figures search it on the test set, which flatters
them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluation.errors import EvaluationError
from evaluation.metrics import (
    RESAMPLES,
    aurocs,
    best_threshold,
    confusion,
    patient_weights,
    rates,
    scorable,
)
from evaluation.values import ResultValue, summarise

TASK = "zero_shot_classification"


def best_thresholds(scores: np.ndarray, labels: np.ndarray, criterion: str = "f1") -> np.ndarray:
    """Per class the threshold with the best `criterion` (see `best_threshold`) on the validate split, or nan."""
    return np.array([best_threshold(labels[:, c], scores[:, c], criterion) for c in range(scores.shape[1])])


def score(
    scores: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    subjects: Sequence[str] | np.ndarray,
    thresholds: np.ndarray,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[ResultValue]:
    """All metrics of `scores` (rows, classes) against `labels` (rows, classes), 1/0, nan where unknown.

    `thresholds` come from `best_thresholds` on another split; a score that reaches its threshold is positive.
    A class of which only one label occurs, or without a threshold, has rows with value None and is not in the
    mean.
    """
    _check(scores, labels, classes, subjects)
    weights = patient_weights(subjects, resamples, seed)
    counts = (~np.isnan(labels)).sum(axis=0)
    points, resampled = aurocs(labels, scores, weights)
    values = summarise("auroc", classes, points, resampled, counts)
    return values + _at_thresholds(scores, labels, classes, thresholds, weights, counts)


def _at_thresholds(
    scores: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    thresholds: np.ndarray,
    weights: np.ndarray,
    counts: np.ndarray,
) -> list[ResultValue]:
    predicted = scores >= thresholds
    usable = np.isfinite(thresholds) & [scorable(labels[:, c]) for c in range(len(classes))]
    point_counts = confusion(predicted, labels, np.ones((1, len(scores))))
    sample_counts = confusion(predicted, labels, weights)
    both = (sample_counts.true_positive + sample_counts.false_negative > 0) & (
        sample_counts.true_negative + sample_counts.false_positive > 0
    )
    resampled = rates(sample_counts)
    values = []
    for metric, point in rates(point_counts).items():
        points = np.where(usable, point[0], np.nan)
        values += summarise(metric, classes, points, np.where(both, resampled[metric], np.nan), counts)
    return values


def _check(
    scores: np.ndarray, labels: np.ndarray, classes: Sequence[str], subjects: Sequence[str] | np.ndarray
) -> None:
    if not scores.shape == labels.shape == (len(subjects), len(classes)):
        raise EvaluationError(
            f"Scores {scores.shape} and labels {labels.shape} do not fit "
            f"{len(subjects)} images of {len(classes)} classes."
        )
    if not np.isin(labels[~np.isnan(labels)], (0, 1)).all():
        raise EvaluationError("Labels must be 1, 0 or nan (unknown); leave uncertain ones out as nan.")
    for name, column in zip(classes, scores.T, strict=True):
        if not np.isfinite(column).all():
            raise EvaluationError(f"The model's scores of {name} are not all finite numbers; its training diverged.")
