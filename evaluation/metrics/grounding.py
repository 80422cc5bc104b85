"""Metrics of the grounding tasks: ratios of sums over (image, class) pairs, per class and on average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.metrics.classification import ratio
from evaluation.metrics.map_overlap import Cells, match_regions
from evaluation.metrics.values import ResultValue, summarise

REGION_IOU = 0.1  # MedKLIP: a piece counts as found from this overlap on

Terms = Mapping[str, tuple[np.ndarray, np.ndarray]]  # metric -> numerator and denominator per mask


def mean_terms(of_mask: Mapping[str, np.ndarray]) -> Terms:
    """Terms of metrics that are the mean of a number (m,) per mask."""
    return {metric: (values, np.ones(len(values))) for metric, values in of_mask.items()}


def join_terms(parts: Sequence[Terms]) -> Terms:
    """The terms of several groups of masks, one after the other."""
    pairs = {metric: zip(*(part[metric] for part in parts), strict=True) for metric in parts[0]}
    return {metric: (np.concatenate(above), np.concatenate(below)) for metric, (above, below) in pairs.items()}


def score_pointing(cells: Cells) -> Terms:
    """The pointing game: whether a highest cell meets the mask (ties: any of them), and what a random cell hits."""
    touched = cells.covered > 0
    highest = cells.values == cells.values.max(axis=1, keepdims=True)
    return mean_terms({"pointing_game": (highest & touched).any(axis=1), "pointing_game_chance": touched.mean(axis=1)})


def score_pieces(region: np.ndarray, pixels: np.ndarray, cells: Cells) -> Terms:
    """Precision and recall of the connected pieces of each `region` (m, cells) bool and mask (m, size, size)."""
    matched = [match_regions(*pair, cells, REGION_IOU) for pair in zip(region, pixels, strict=True)]
    right, predicted, found, true = np.array(matched, float).reshape(-1, 4).T
    return {"precision": (right, predicted), "recall": (found, true)}


def to_values(
    terms: Terms, classes: Sequence[str], columns: np.ndarray, weights: np.ndarray, usable: np.ndarray | None = None
) -> list[ResultValue]:
    """Every metric of `terms` per class and their mean.

    `columns` (m,) is the class of each mask, `weights` (resamples, m) how often it is drawn; a class that is not
    `usable` (classes,) or has no mask has a row with value None.
    """
    of_class = columns[:, None] == np.arange(len(classes))
    usable = np.ones(len(classes), bool) if usable is None else usable
    values = []
    for metric, (numerator, denominator) in terms.items():
        points = _weigh_ratios(np.ones((1, len(of_class))), numerator, denominator, of_class)[0]
        resampled = _weigh_ratios(weights, numerator, denominator, of_class)
        values += summarise(metric, classes, np.where(usable, points, np.nan), resampled, of_class.sum(axis=0))
    return values


def _weigh_ratios(
    weights: np.ndarray, numerator: np.ndarray, denominator: np.ndarray, of_class: np.ndarray
) -> np.ndarray:
    """Weighted sum over weighted sum, per resample and class; nan where no mask of the class has weight."""
    weights = weights.astype(np.float64)
    sums = [weights @ (term[:, None] * of_class) for term in (numerator, denominator)]
    return np.where(weights @ of_class > 0, ratio(*sums), np.nan)
