"""Classification metrics and the bootstrap by patient.

AUROC comes from scikit-learn. Resamples use the same definitions with row weights (how often a row's patient was
drawn). The tests compare them with scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from evaluation.metrics.values import MACRO, ResultValue, interval, summarise

RESAMPLES = 1000
BLOCK = 4_000_000  # numbers held at once while resampling


class Confusion(NamedTuple):
    """Weighted counts of the four outcomes, all of one shape."""

    true_positive: np.ndarray
    false_positive: np.ndarray
    false_negative: np.ndarray
    true_negative: np.ndarray


def is_scorable(labels: np.ndarray) -> bool:
    """Whether both labels, 0 and 1, occur."""
    return bool((labels == 1).any() and (labels == 0).any())


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve of labels 0/1 (nan: unknown, left out); nan unless both labels occur."""
    from sklearn.metrics import roc_auc_score

    known = ~np.isnan(labels)
    if not is_scorable(labels):
        return float("nan")
    return float(roc_auc_score(labels[known], scores[known]))


def best_threshold(labels: np.ndarray, scores: np.ndarray, criterion: str = "f1") -> float:
    """The score from which on "present" is best, the lowest of several; nan unless both labels occur.

    `criterion`: `f1`, `mcc` (CheXzero), or `youden`, which is recall plus specificity.
    """
    known = ~np.isnan(labels)
    if not is_scorable(labels):
        return float("nan")
    thresholds, counts = counts_at_every_threshold(labels[known], scores[known])
    found = rates(counts)
    quality = found["recall"] + found["specificity"] if criterion == "youden" else found[criterion]
    return float(thresholds[quality.argmax()])


def counts_at_every_threshold(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, Confusion]:
    """All distinct scores, ascending, and the outcomes of labels 0/1 where reaching that score means present."""
    thresholds, ranks = np.unique(scores, return_inverse=True)
    outcomes = []
    for label in (1, 0):
        counts = np.bincount(ranks[labels == label], minlength=len(thresholds)).astype(np.float64)
        outcomes.append(np.cumsum(counts[::-1])[::-1])
    present, absent = outcomes
    return thresholds, Confusion(present, absent, present[0] - present, absent[0] - absent)


def patient_weights(subjects: Sequence[str] | np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """How often each row is drawn when its patients are drawn with replacement: (resamples, rows) float32."""
    names, groups = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    drawn = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
    places = drawn + len(names) * np.arange(resamples)[:, None]
    counts = np.bincount(places.ravel(), minlength=resamples * len(names))
    return counts.astype(np.float32).reshape(resamples, len(names))[:, groups]


def image_weights(images: int, generators: Iterable[np.random.RandomState]) -> np.ndarray:
    """How often each row is drawn when images are drawn, not patients: (generators, images) float32.

    CheXzero's code resamples in this way. Patients with several images make its interval too narrow. It seeds a new
    generator for each resample of the AUROC, and uses one generator for all resamples of F1 and MCC.
    """
    samples = [generator.randint(0, images, images) for generator in generators]
    return np.stack([np.bincount(sample, minlength=images) for sample in samples]).astype(np.float32)


def bootstrap(
    statistic: Callable[..., float],
    arrays: Sequence[np.ndarray],
    groups: Sequence[str] | np.ndarray,
    n: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """The 95 % interval of any `statistic(*arrays)` over `n` resamples of the groups (patients).

    Resamples in which the statistic is nan are left out. This is a loop; the tasks work on `patient_weights`,
    which draws the same resamples.
    """
    values = np.empty(n)
    for index, weights in enumerate(patient_weights(groups, n, seed).astype(np.int64)):
        rows = np.repeat(np.arange(len(weights)), weights)
        values[index] = statistic(*(array[rows] for array in arrays))
    return interval(values)


def weighted_auroc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUROC of labels 0/1 under each row of `weights` (resamples, rows); nan where a label has no weight.

    The share of pairs (positive, negative) that are in the right order, ties counting half.
    """
    order = np.argsort(scores, kind="stable")
    positive = labels[order] == 1
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # of each group of equal scores
    areas = np.empty(len(weights))
    step = max(1, BLOCK // max(1, len(scores)))
    for first in range(0, len(weights), step):
        block = weights[first : first + step, order].astype(np.float64)
        above = np.add.reduceat(np.where(positive, block, 0.0), starts, axis=1)
        below = np.add.reduceat(np.where(positive, 0.0, block), starts, axis=1)
        pairs = above * (np.cumsum(below, axis=1) - below / 2)
        areas[first : first + step] = _divide(pairs.sum(1), above.sum(1) * below.sum(1), np.nan)
    return areas


def aurocs(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUROC of every column of labels 0/1/nan (rows, classes), and under each row of `weights` (resamples, rows).

    Returns (classes,) and (resamples, classes), nan where a label does not occur.
    """
    points = np.array([auroc(labels[:, c], scores[:, c]) for c in range(labels.shape[1])])
    resampled = np.full((len(weights), len(points)), np.nan)
    for c in np.flatnonzero(np.isfinite(points)):
        known = ~np.isnan(labels[:, c])
        resampled[:, c] = weighted_auroc(labels[known, c], scores[known, c], weights[:, known])
    return points, resampled


def weighted_means(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of every column of `values` (rows, columns), nan ones left out, and under each row of `weights`.

    `weights` (resamples, rows). Returns (columns,) and (resamples, columns), nan where nothing has weight.
    """
    known = (~np.isnan(values)).astype(np.float64)
    weights = np.concatenate([np.ones((1, len(values))), weights])
    means = _divide(weights @ np.nan_to_num(values), weights @ known, np.nan)
    return means[0], means[1:]


def accuracy(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> ResultValue:
    """The share of rows whose highest score (rows, classes) is that of the one class they have, as MGCA measures it.

    Rows of `labels` (rows, classes) without exactly one 1 are left out; nan scores, of classes that were not learnt,
    are never the highest; where no class was, there is no value. The interval is over `weights` (resamples, rows); n
    counts rows.
    """
    known = ((labels == 1).sum(axis=1) == 1) & ~np.isnan(scores).all()
    right = np.where(np.isnan(scores), -np.inf, scores).argmax(axis=1) == (labels == 1).argmax(axis=1)
    points, resampled = weighted_means(np.where(known, right, np.nan)[:, None], weights)
    return summarise("accuracy", [MACRO], points, resampled, np.array([known.sum()]))[0]


def confusion(predicted: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> Confusion:
    """Counts of `predicted` (rows, classes) bool against labels 0/1/nan under `weights` (resamples, rows)."""
    present, absent = labels == 1, labels == 0
    outcomes = (predicted & present, predicted & absent, ~predicted & present, ~predicted & absent)
    return Confusion(*(weights.astype(np.float64) @ outcome.astype(np.float64) for outcome in outcomes))


def rates(counts: Confusion) -> dict[str, np.ndarray]:
    """F1, accuracy, precision, recall, specificity and MCC of counts, with 0/0 = 0 as in scikit-learn."""
    tp, fp, fn, tn = counts
    spread = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return {
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "accuracy": ratio(tp + tn, tp + fp + fn + tn),
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "specificity": ratio(tn, tn + fp),
        "mcc": ratio(tp * tn - fp * fn, spread),
    }


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """`numerator / denominator`, 0 where the denominator is 0."""
    return _divide(numerator, denominator, 0.0)


def _divide(numerator: np.ndarray, denominator: np.ndarray, otherwise: float) -> np.ndarray:
    result = np.full(np.broadcast_shapes(np.shape(numerator), np.shape(denominator)), otherwise)
    return np.divide(numerator, denominator, out=result, where=np.asarray(denominator) > 0)
