"""Hits and precision at k of pairs whose class counts: MIMIC 5x200 (BenchX, arXiv 2410.21969), CheXpert 5x200 (GLoRIA).

Every image ranks all reports, and every report all images. What has the class of the query is right, whosever it is.
Where a wrong one is as similar as a right one it counts as ranked before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluation.errors import EvaluationError
from evaluation.metrics.classification import RESAMPLES, patient_weights
from evaluation.metrics.values import ResultValue, summarise

DEPTHS = (1, 5, 10)
PAIRS = "pairs"  # the one class of these numbers
REVERSE = "text_to_image_"  # the beginning of the names of numbers from report to image


def score_same_class(
    similarities: np.ndarray,
    categories: np.ndarray,
    subjects: Sequence[str] | np.ndarray,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[ResultValue]:
    """`class_hit_at_k` and `class_precision_at_k` in both directions, and what chance would give.

    `similarities` (n, n) of the images with the reports of the same n pairs; `categories` (n,) of the pairs; `subjects`
    (n,) are resampled as queries, while all that is ranked stays. A depth that takes in all pairs is not scored.
    """
    pairs = len(categories)
    if similarities.shape != (pairs, pairs) or len(subjects) != pairs:
        raise EvaluationError(
            f"Similarities {similarities.shape} do not fit {pairs} pairs of {len(subjects)} patients."
        )
    if not np.isfinite(similarities).all():
        raise EvaluationError("The model's similarities are not all finite numbers; its training diverged.")
    right = categories[:, None] == categories
    weights = patient_weights(subjects, resamples, seed)
    values = _score(similarities, right, weights, "")
    return values + _score(similarities.T, right, weights, REVERSE)


def rank_right(similarities: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(queries, ranked) bool: whether what stands at each place is right, wrong ones first among equals."""
    order = np.lexsort((right, -similarities), axis=-1)
    return np.take_along_axis(right, order, axis=1)


def _score(similarities: np.ndarray, right: np.ndarray, weights: np.ndarray, direction: str) -> list[ResultValue]:
    from scipy.stats import hypergeom

    found = np.cumsum(rank_right(similarities, right), axis=1)
    ranked, shares, values = right.shape[1], right.sum(axis=1), []
    for depth in DEPTHS:
        scored = depth < ranked
        reached = found[:, depth - 1] if scored else np.zeros(len(found))
        chance = hypergeom.sf(0, ranked, shares, depth)  # of a right one in a random order
        values += _mean(f"{direction}class_hit_at_{depth}", reached > 0, weights, scored)
        values += _mean(f"{direction}class_hit_at_{depth}_chance", chance, weights, scored)
        values += _mean(f"{direction}class_precision_at_{depth}", reached / depth, weights, scored)
    return values + _mean(f"{direction}class_precision_chance", shares / max(ranked, 1), weights, ranked > 0)


def _mean(metric: str, numbers: np.ndarray, weights: np.ndarray, scored: bool) -> list[ResultValue]:
    """The mean of `numbers` (queries,), and under each row of `weights` (resamples, queries)."""
    counts = weights.sum(axis=1, dtype=np.float64)
    resampled = np.where(counts > 0, weights.astype(np.float64) @ numbers / np.maximum(counts, 1), np.nan)
    point = numbers.mean() if scored and len(numbers) else np.nan
    return summarise(metric, [PAIRS], np.array([point]), resampled[:, None], np.array([len(numbers)]))
