"""Average precision of boxes as COCO defines it, on images that count any number of times.

A bootstrap resample is a weight per image. The tests check that a weight of n equals n copies of the image, and that
the value equals that of pycocotools, the code of Lin et al. (arXiv 1405.0312).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evaluation.metrics.classification import BLOCK, ratio

MOST_PER_IMAGE = 100  # COCO: only so many boxes of an image count, those with the highest scores
RECALLS = np.linspace(0, 1, 101)  # COCO: where precision is read


class Found(NamedTuple):
    """Boxes that a detector found on some images."""

    images: np.ndarray  # (boxes,) int64 index of the image
    corners: np.ndarray  # (boxes, 4) x1 y1 x2 y2
    scores: np.ndarray  # (boxes,) higher is surer

    def select(self, rows: np.ndarray) -> Found:
        """Some of the boxes."""
        return Found(self.images[rows], self.corners[rows], self.scores[rows])


def average_precision(
    found: Found, truth: Sequence[np.ndarray], thresholds: Sequence[float], weights: np.ndarray
) -> np.ndarray:
    """(resamples, thresholds) area under the curve of precision over recall; nan where no true box has weight.

    `truth` has the true boxes (k, 4) of every image, `thresholds` are overlaps from which on a box is right, and
    `weights` (resamples, images) says how often an image counts. A box on an image without a true box is a false
    positive.
    """
    found, ranks = _rank_boxes(found)
    right = _match_boxes(found, ranks, truth, thresholds)
    order = np.argsort(-found.scores, kind="stable")
    images, right = found.images[order], right[:, order]
    boxes = weights.astype(np.float64) @ np.array([len(corners) for corners in truth], float)
    areas = np.empty((len(weights), len(thresholds)))
    step = max(1, BLOCK // max(1, len(images)))
    for first in range(0, len(weights), step):
        block = slice(first, first + step)
        counted = weights[block, images].astype(np.float64)
        so_far = np.cumsum(counted, axis=1)
        for column, hits in enumerate(right):
            areas[block, column] = _integrate(np.cumsum(counted[:, hits], axis=1), so_far[:, hits], boxes[block])
    return areas


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (..., 4) with others (..., 4) of a shape that broadcasts; 0 for empty ones."""
    boxes, others = boxes.astype(np.float64), others.astype(np.float64)
    sides = np.minimum(boxes[..., 2:], others[..., 2:]) - np.maximum(boxes[..., :2], others[..., :2])
    common = np.clip(sides, 0, None).prod(-1)
    return ratio(common, _measure_boxes(boxes) + _measure_boxes(others) - common)


def _measure_boxes(boxes: np.ndarray) -> np.ndarray:
    return np.asarray((boxes[..., 2:] - boxes[..., :2]).prod(-1))


def _rank_boxes(found: Found) -> tuple[Found, np.ndarray]:
    """The boxes that count, image by image from the surest on, and their ranks (boxes,) within the image."""
    found = found.select(np.lexsort((-found.scores, found.images)))
    ranks = np.arange(len(found.images)) - np.searchsorted(found.images, found.images)
    counts = ranks < MOST_PER_IMAGE
    return found.select(counts), ranks[counts]


def _match_boxes(
    found: Found, ranks: np.ndarray, truth: Sequence[np.ndarray], thresholds: Sequence[float]
) -> np.ndarray:
    """(thresholds, boxes) bool: whether a box is right.

    From the highest score on, each box takes the free true box that it overlaps most.
    """
    counts = np.array([len(corners) for corners in truth], np.int64)
    corners = np.full((len(truth), max(1, counts.max(initial=0)), 4), np.nan)
    corners[np.arange(corners.shape[1]) < counts[:, None]] = np.concatenate([np.empty((0, 4)), *truth])
    free = np.repeat(np.isfinite(corners[None, ..., 0]), len(thresholds), axis=0)
    enough = np.asarray(thresholds, float)[:, None]
    every = np.arange(len(thresholds))[:, None]
    right = np.zeros((len(thresholds), len(found.images)), bool)
    for rank in range(ranks.max(initial=-1) + 1):
        rows = np.flatnonzero((ranks == rank) & (counts[found.images] > 0))
        images = found.images[rows]
        overlap = np.where(free[:, images], overlaps(found.corners[rows, None], corners[images]), -1.0)
        best = overlap.shape[-1] - 1 - overlap[..., ::-1].argmax(-1)  # COCO takes the last of equals
        hit = np.take_along_axis(overlap, best[..., None], -1)[..., 0] >= enough
        free[every, images, best] &= ~hit
        right[:, rows] = hit
    return right


def _integrate(right: np.ndarray, so_far: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(resamples,) from counts of right and of all boxes (resamples, hits) at every right one, and of `boxes` to find.

    Precision is the highest at that recall or beyond. Between two right boxes it only falls, so these are enough.
    """
    precision = np.maximum.accumulate(ratio(right, so_far)[:, ::-1], axis=1)[:, ::-1]
    precision = np.pad(precision, ((0, 0), (0, 1)))  # recalls that are never reached
    recalls = right / np.maximum(boxes, 1)[:, None]
    places = np.array([np.searchsorted(recall, RECALLS) for recall in recalls]).reshape(len(recalls), len(RECALLS))
    return np.where(boxes > 0, np.take_along_axis(precision, places, axis=1).mean(axis=1), np.nan)
