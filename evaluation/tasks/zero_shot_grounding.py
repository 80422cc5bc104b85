"""Zero-shot grounding as MedKLIP does it: where does a finding's attention lie, given that it is there?

Only images that have the finding and a mask of it count.

- pointing_game: share of images where a cell that attains the map's maximum overlaps the mask (ties: any of
  them; a map that is the same everywhere therefore hits).
- pointing_game_chance: the expected hit rate of a cell chosen uniformly, padding included.
- dice, iou: means over images, of the region above the threshold; 0 where region or mask is empty.
- precision, recall: of the pieces of that region, the share that meets a piece of the mask with an IoU of at
  least 0.1, and the reverse; over all pieces of a class, 0 where there are none.

The paper searches one threshold for all classes in steps of 0.01, on the test set, which flatters it: metrics named
`dice_by_test_dice` and so on. The others choose it per class on the validate split. A cell of raw attention is about
1 / cells (0.005), which makes that grid meaningless, so each map is first stretched to 0..1. The authors' code takes
AUTHORS_THRESHOLD on the raw map instead: `normalise=False`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cohorts.dataset import REGIONS
from evaluation.errors import EvaluationError
from evaluation.metrics.classification import RESAMPLES, patient_weights
from evaluation.metrics.grounding import Terms, mean_terms, score_pieces, score_pointing, to_values
from evaluation.metrics.map_overlap import Cells, dice, iou, lay_over
from evaluation.metrics.truth import Masks
from evaluation.metrics.values import ResultValue
from evaluation.tasks.base import QUERY_LABELS, REGION_TABLE, Setting, Task

if TYPE_CHECKING:
    from evaluation.predictions import Predictions

GRID = np.arange(100) / 100  # MedKLIP, steps of 0.01
AUTHORS_THRESHOLD = 0.008  # MedKLIP's code, on raw attention over 14 x 14 cells
BY_TEST_DICE = "_by_test_dice"  # at one threshold for all classes, that of the best mean Dice on the test set (MedKLIP)


class ZeroShotGrounding(Task):
    """Where the findings are, told from the maps of their queries."""

    name = "zero_shot_grounding"
    purpose = REGIONS
    only_images = "a region lies on one image."
    leading = "pointing_game"
    selection = (
        "Thresholds are chosen on the validate split; metrics that end in `_by_test_dice` take MedKLIP's, from the "
        "test set, and are flattered."
    )
    on_pretraining_cohort = True
    reads = (QUERY_LABELS, REGION_TABLE)
    figures = ("heat_maps", "selected_regions")

    def score(self, predictions: Predictions, setting: Setting, settings: None) -> Sequence[ResultValue]:
        """The pointing game, and overlaps of regions, per class and their mean."""
        dataset = predictions.dataset
        names, subjects = dataset.query_labels, dataset.images("test").subjects
        test = predictions.zero_shot("test")
        if not names or not len(dataset.masks("test", names)):
            return []
        validate = predictions.zero_shot("validate")
        side = predictions.visible_side
        masks = {split: dataset.masks(split, names).middle(side) for split in ("validate", "test")}
        thresholds = best_thresholds(validate.maps, masks["validate"])
        scored = test.maps, masks["test"], names, subjects
        return score(*scored, thresholds) + score_by_papers(*scored)


def best_thresholds(maps: np.ndarray, masks: Masks) -> np.ndarray:
    """Per class the threshold of GRID with the best mean Dice, for the validate split; nan without masks."""
    overlap = _dice_by_level(lay_over(maps, masks, normalise=True))
    thresholds = np.full(maps.shape[1], np.nan)
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
    _check(maps, classes, subjects)
    thresholds = np.asarray(thresholds, float)
    cells = lay_over(maps, masks, normalise)
    weights = patient_weights(subjects, resamples, seed)[:, masks.rows]
    regions = _regions(cells, masks.pixels, thresholds[masks.columns])
    values = to_values(score_pointing(cells), classes, masks.columns, weights)
    return values + to_values(regions, classes, masks.columns, weights, np.isfinite(thresholds))


def score_by_papers(
    maps: np.ndarray,
    masks: Masks,
    classes: Sequence[str],
    subjects: Sequence[str] | np.ndarray,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[ResultValue]:
    """The metrics that need a threshold, at the paper's; shapes and rows without a value as in `score`.

    The threshold stays what it is when patients are resampled.
    """
    _check(maps, classes, subjects)
    cells = lay_over(maps, masks, normalise=True)
    weights = patient_weights(subjects, resamples, seed)[:, masks.rows]
    best = GRID[_dice_by_level(cells).sum(axis=1).argmax()]
    regions = _regions(cells, masks.pixels, np.full(len(masks), best))
    named = {metric + BY_TEST_DICE: term for metric, term in regions.items()}
    return to_values(named, classes, masks.columns, weights)


def _dice_by_level(cells: Cells) -> np.ndarray:
    """(levels of GRID, m) Dice of every mask."""
    return np.array([dice(cells.values > level, cells) for level in GRID])


def _regions(cells: Cells, pixels: np.ndarray, thresholds: np.ndarray) -> Terms:
    """`thresholds` has one entry per mask."""
    region = cells.values > thresholds[:, None]
    return {
        **mean_terms({"dice": dice(region, cells), "iou": iou(region, cells)}),
        **score_pieces(region, pixels, cells),
    }


def _check(maps: np.ndarray, classes: Sequence[str], subjects: Sequence[str] | np.ndarray) -> None:
    if maps.shape[:2] != (len(subjects), len(classes)):
        raise EvaluationError(f"Maps {maps.shape} do not fit {len(subjects)} images of {len(classes)} classes.")
