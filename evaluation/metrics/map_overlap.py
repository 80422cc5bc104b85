"""Overlap of attention maps with masks, computed on the cells of the map.

A map enlarged by nearest neighbour turns each cell into a block of pixels. Overlaps of maps and masks are therefore
sums over cells, and no map has to be enlarged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.errors import EvaluationError
from evaluation.metrics.classification import ratio
from evaluation.metrics.truth import Masks


@dataclass(frozen=True)
class Cells:
    """One row per mask, cells flattened."""

    values: np.ndarray  # (m, cells) attention
    covered: np.ndarray  # (m, cells) pixels of the mask in each cell
    area: np.ndarray  # (cells,) pixels of each cell
    index: np.ndarray  # (size, size) cell of each pixel


def lay_over(maps: np.ndarray, masks: Masks, normalise: bool) -> Cells:
    """Lay `maps` (rows, classes, grid, grid) over `masks`; `normalise` stretches maps to 0..1.

    A constant map becomes 0 everywhere.
    """
    grid, size = maps.shape[-1], masks.pixels.shape[-1]
    if maps.shape[-2] != grid or grid > size:
        raise EvaluationError(f"Maps of {maps.shape[-2:]} cells cannot lie over masks of {size} x {size} pixels.")
    values = maps[masks.rows, masks.columns].reshape(len(masks), grid * grid).astype(np.float64)
    if not np.isfinite(values).all():
        raise EvaluationError("The model's attention maps are not all finite numbers; its training diverged.")
    if normalise:
        low, high = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
        values = ratio(values - low, high - low)
    line = np.arange(size) * grid // size  # nearest neighbour
    starts = np.searchsorted(line, np.arange(grid))
    rows = np.add.reduceat(masks.pixels, starts, axis=1, dtype=np.int64)
    covered = np.add.reduceat(rows, starts, axis=2).reshape(len(masks), grid * grid)
    index = line[:, None] * grid + line
    return Cells(values, covered, np.bincount(index.ravel()), index)


def dice(region: np.ndarray, cells: Cells) -> np.ndarray:
    """Dice of each mask with its `region` (m, cells) bool; 0 where either is empty."""
    shared = (region * cells.covered).sum(axis=1)
    return ratio(2 * shared, region @ cells.area + cells.covered.sum(axis=1))


def iou(region: np.ndarray, cells: Cells) -> np.ndarray:
    """Intersection over union of each mask with its `region` (m, cells) bool; 0 where either is empty."""
    shared = (region * cells.covered).sum(axis=1)
    return ratio(shared, region @ cells.area + cells.covered.sum(axis=1) - shared)


def match_regions(region: np.ndarray, mask: np.ndarray, cells: Cells, bar: float) -> tuple[int, int, int, int]:
    """Match the 4-connected pieces of one `region` (cells,) with those of its `mask` (size, size).

    Returns the predicted pieces that reach an IoU of `bar` with a true one, all predicted pieces, the true
    pieces that are reached, all true pieces. Cells that touch do so as blocks of pixels, too.
    """
    from scipy import ndimage

    grid = len(np.unique(cells.index[0]))
    predicted, predictions = ndimage.label(region.reshape(grid, grid))
    true, truths = ndimage.label(mask)
    if not (predictions and truths):
        return 0, predictions, 0, truths
    member = predicted.ravel() == np.arange(1, predictions + 1)[:, None]  # (predictions, cells)
    pairs = true * grid**2 + cells.index
    covered = np.bincount(pairs.ravel(), minlength=(truths + 1) * grid**2).reshape(truths + 1, grid**2)[1:]
    shared = member.astype(float) @ covered.T
    union = (member @ cells.area)[:, None] + covered.sum(axis=1) - shared
    reached = shared / union >= bar
    return int(reached.any(axis=1).sum()), predictions, int(reached.any(axis=0).sum()), truths
