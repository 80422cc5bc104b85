"""Zero-shot classification: each class on its own, every number with a 95 % interval by patient.

AUROC needs no threshold. F1, accuracy, precision, recall, specificity and MCC are taken at the threshold with
the best F1 on the validate split. The rules of the papers have names of their own: `f1_by_test_f1` is taken at the
threshold that MedKLIP searches on the test set, which flatters it, `f1_by_validate_mcc` at CheXzero's and LRCLR's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cohorts.dataset import ZERO_SHOT
from evaluation.errors import EvaluationError
from evaluation.metrics.classification import (
    RESAMPLES,
    aurocs,
    best_threshold,
    confusion,
    is_scorable,
    patient_weights,
    rates,
)
from evaluation.metrics.units import Scored
from evaluation.metrics.values import ResultValue, add_positives, summarise
from evaluation.tasks.base import QUERY_LABELS, Setting, Task

if TYPE_CHECKING:
    from evaluation.predictions import Predictions

BY_TEST_F1 = "_by_test_f1"  # the best F1 on the test set itself, and scores above it, not at it, are positive (MedKLIP)
BY_VALIDATE_MCC = "_by_validate_mcc"  # the best MCC on the validate split (CheXzero, LRCLR)


class ZeroShotClassification(Task):
    """Which findings are there, told from their names or descriptions."""

    name = "zero_shot_classification"
    purpose = ZERO_SHOT
    leading = "auroc"
    selection = (
        "Thresholds are chosen on the validate split; metrics that end in `_by_test_f1` take MedKLIP's, from the test "
        "set, and are flattered."
    )
    on_pretraining_cohort = True
    reads = (QUERY_LABELS,)
    asks = True
    figures = ("roc_curves", "radar")

    def score(self, predictions: Predictions, setting: Setting, settings: None) -> Sequence[ResultValue]:
        """AUROC, and the metrics that need a threshold, per class and their mean."""
        names = predictions.dataset.query_labels
        scores, labels, subjects = _read_split(predictions, "test", setting)
        if not names or not len(scores):
            return []
        known = _read_split(predictions, "validate", setting)
        thresholds, by_mcc = (best_thresholds(known[0], known[1], criterion) for criterion in ("f1", "mcc"))
        scored = scores, labels, names, subjects
        return score(*scored, thresholds) + score_by_papers(*scored, by_mcc)


def _read_split(predictions: Predictions, split: str, setting: Setting) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores and labels (units, classes) of a split, and the patients (units,)."""
    dataset = predictions.dataset
    images = dataset.images(split)
    scored = Scored.of(images, setting.unit)
    labels = scored.join_labels(dataset.label_values(images, dataset.query_labels))
    return scored.average(predictions.zero_shot(split, setting.ask).scores), labels, scored.subjects


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
    values += _decided(scores >= thresholds, np.isfinite(thresholds), labels, classes, weights)
    return add_positives(values, classes, labels)


def score_by_papers(
    scores: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    subjects: Sequence[str] | np.ndarray,
    mcc_thresholds: np.ndarray,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[ResultValue]:
    """The metrics that need a threshold, at those of the papers; shapes and rows without a value as in `score`.

    `mcc_thresholds` come from `best_thresholds` on the validate split with the criterion `mcc`. MedKLIP's come from
    `scores` and `labels` themselves, and stay what they are when patients are resampled.
    """
    _check(scores, labels, classes, subjects)
    weights = patient_weights(subjects, resamples, seed)
    test_thresholds = best_thresholds(scores, labels)
    by_test = _decided(scores > test_thresholds, np.isfinite(test_thresholds), labels, classes, weights, BY_TEST_F1)
    reached = scores >= mcc_thresholds
    by_validate = _decided(reached, np.isfinite(mcc_thresholds), labels, classes, weights, BY_VALIDATE_MCC)
    return add_positives(by_test + by_validate, classes, labels)


def _decided(
    predicted: np.ndarray,
    possible: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    weights: np.ndarray,
    rule: str = "",
) -> list[ResultValue]:
    """Rates of what is `predicted` (rows, classes) for the `possible` classes, which have a threshold."""
    counts = (~np.isnan(labels)).sum(axis=0)
    usable = possible & [is_scorable(labels[:, c]) for c in range(len(classes))]
    point_counts = confusion(predicted, labels, np.ones((1, len(labels))))
    sample_counts = confusion(predicted, labels, weights)
    both = (sample_counts.true_positive + sample_counts.false_negative > 0) & (
        sample_counts.true_negative + sample_counts.false_positive > 0
    )
    resampled = rates(sample_counts)
    values = []
    for metric, point in rates(point_counts).items():
        points = np.where(usable, point[0], np.nan)
        values += summarise(metric + rule, classes, points, np.where(both, resampled[metric], np.nan), counts)
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
