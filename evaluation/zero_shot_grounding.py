"""Zero-shot grounding as MedKLIP does it: where does a finding's attention lie, given that it is there?

Only images that have the finding and a mask of it count.

- pointing_game: share of images where a cell that attains the map's maximum overlaps the mask (ties: any of
  them; a map that is the same everywhere therefore hits).
- pointing_game_chance: the expected hit rate of a cell drawn uniformly, padding included.
- dice, iou: means over images, of the region above the threshold; 0 where region or mask is empty.
- precision, recall: of the pieces of that region, the share that meets a piece of the mask with an IoU of at
  least 0.1, and the reverse; over all pieces of a class, 0 where there are none.

The paper searches one threshold in steps of 0.01. A cell of raw attention is about 1 / cells (0.005), which
makes that grid meaningless, so each map is first stretched to 0..1; and the threshold is chosen per class on
the validate split, not on the test set. The authors' code takes AUTHORS_THRESHOLD on the raw map instead:
`normalise=False`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.cells import Cells, dice, iou, lay_over, match_regions
from evaluation.errors import EvaluationError
from evaluation.metrics import RESAMPLES, patient_weights, ratio
from evaluation.truth import Masks
from evaluation.values import ResultValue, summarise

TASK = "zero_shot_grounding"
GRID = np.arange(100) / 100  # MedKLIP, steps of 0.01
REGION_IOU = 0.1  # MedKLIP, from which on a piece counts as found
AUTHORS_THRESHOLD = 0.008  # MedKLIP's code, on raw attention over 14 x 14 cells

Terms = Mapping[str, tuple[np.ndarray, np.ndarray]]  # metric -> numerator and denominator per mask


def best_thresholds(maps: np.ndarray, masks: Masks) -> np.ndarray:
    """Per class the threshold of GRID with the best mean Dice, for the validate split; nan without masks."""
    cells = lay_over(maps, masks, normalise=True)
    thresholds = np.full(maps.shape[1], np.nan)
    overlap = np.array([dice(cells.values > level, cells) for level in GRID])
    for column in np.unique(masks.columns):
        thresholds[column] = GRID[overlap[:, masks.columns == column].mean(axis=1).argmax()]
    return thresholds


def score(
    maps: np.ndarray,
    masks: Masks,
    classes: Sequence[str],
    subjects: Sequence[str] | np.ndarray,
    thresholds: np.ndarray,
    normalise: bool = True,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[ResultValue]:
    """All metrics of `maps` (rows, classes, grid, grid) against `masks`, per class and their mean.

    A class without masks, or without a threshold, has rows with value None and is not in the mean.
    """
    if maps.shape[:2] != (len(subjects), len(classes)):
        raise EvaluationError(f"Maps {maps.shape} do not fit {len(subjects)} images of {len(classes)} classes.")
    thresholds = np.asarray(thresholds, float)
    cells = lay_over(maps, masks, normalise)
    weights = patient_weights(subjects, resamples, seed)[:, masks.rows]
    of_class = masks.columns[:, None] == np.arange(len(classes))
    everywhere = np.ones(len(classes), bool)
    values = _values(_pointing(cells), classes, weights, of_class, everywhere)
    regions = _regions(cells, masks.pixels, thresholds[masks.columns])
    return values + _values(regions, classes, weights, of_class, np.isfinite(thresholds))


def _pointing(cells: Cells) -> Terms:
    touched = cells.covered > 0
    highest = cells.values == cells.values.max(axis=1, keepdims=True)
    ones = np.ones(len(touched))
    return {
        "pointing_game": ((highest & touched).any(axis=1), ones),
        "pointing_game_chance": (touched.mean(axis=1), ones),
    }


def _regions(cells: Cells, pixels: np.ndarray, thresholds: np.ndarray) -> Terms:
    """`thresholds` has one entry per mask."""
    region = cells.values > thresholds[:, None]
    pieces = [match_regions(*pair, cells, REGION_IOU) for pair in zip(region, pixels, strict=True)]
    right, predicted, found, true = np.array(pieces, float).reshape(-1, 4).T
    ones = np.ones(len(region))
    return {
        "dice": (dice(region, cells), ones),
        "iou": (iou(region, cells), ones),
        "precision": (right, predicted),
        "recall": (found, true),
    }


def _values(
    terms: Terms, classes: Sequence[str], weights: np.ndarray, of_class: np.ndarray, usable: np.ndarray
) -> list[ResultValue]:
    values = []
    for metric, (numerator, denominator) in terms.items():
        points = _ratios(np.ones((1, len(of_class))), numerator, denominator, of_class)[0]
        resampled = _ratios(weights, numerator, denominator, of_class)
        values += summarise(metric, classes, np.where(usable, points, np.nan), resampled, of_class.sum(axis=0))
    return values


def _ratios(weights: np.ndarray, numerator: np.ndarray, denominator: np.ndarray, of_class: np.ndarray) -> np.ndarray:
    """Weighted sum over weighted sum, per resample and class; nan where no mask of the class has weight."""
    weights = weights.astype(np.float64)
    sums = [weights @ (term[:, None] * of_class) for term in (numerator, denominator)]
    return np.where(weights @ of_class > 0, ratio(*sums), np.nan)
