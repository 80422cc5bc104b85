"""Regions that a dataset gives as geometry instead of images: rendered as masks, and boxes around masks.

Coordinates are pixels of the source image, x to the right and y down from its top-left corner, and continuous: the
pixel in column c reaches from c to c + 1 and belongs to a region that holds its centre.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from imaging.letterbox import Box

INSIDE = np.uint8(255)
FARTHEST = 1e9  # pixels from the corner of its image that a coordinate may lie; no image has as many
MOST_CORNERS = 20_000  # of a polygon; outlines of experts have hundreds


class ShapeError(ValueError):
    """A shape that cannot be rendered; the text says in one sentence what is wrong with it."""


def shape_mask(kind: str, points: Sequence[float], height: int, width: int) -> np.ndarray:
    """A shape as (height, width) uint8: 255 inside, 0 outside; what lies off the image is cut.

    kind: `rectangle` and `ellipse` (x1 y1 x2 y2, its bounding box), `polygon` (x1 y1 x2 y2 ..., closed, even-odd), or
    `rle` (start and length pairs over the image flattened column by column). Raises ShapeError.
    """
    if kind not in _DRAW:
        raise ShapeError(f"A shape of kind {kind!r} is not known; use {', '.join(_DRAW)}.")
    values = np.asarray(points, np.float64)
    if not np.isfinite(values).all():
        raise ShapeError(f"A {kind} has a coordinate that is not a number.")
    if (np.abs(values) > FARTHEST).any():
        raise ShapeError(f"A {kind} has a coordinate that is farther off than any image is large.")
    return _DRAW[kind](values, height, width) * INSIDE


def bounding_box(mask: np.ndarray) -> Box | None:
    """The least box around what is not zero in a (height, width) mask, or None where all is zero."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1


def _rectangle(points: np.ndarray, height: int, width: int) -> np.ndarray:
    x1, y1, x2, y2 = _corners("rectangle", points)
    x, y = _centres(height, width)
    return (x >= x1) & (x < x2) & (y >= y1) & (y < y2)


def _ellipse(points: np.ndarray, height: int, width: int) -> np.ndarray:
    x1, y1, x2, y2 = _corners("ellipse", points)
    x, y = _centres(height, width)
    across, down = max(x2 - x1, np.finfo(float).tiny) / 2, max(y2 - y1, np.finfo(float).tiny) / 2
    return ((x - (x1 + x2) / 2) / across) ** 2 + ((y - (y1 + y2) / 2) / down) ** 2 <= 1


def _polygon(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Going along a row, every edge that is crossed changes inside to outside and back."""
    if len(points) < 6 or len(points) % 2:
        raise ShapeError("A polygon needs three corners of two coordinates each, or more.")
    corners = points.reshape(-1, 2)
    if len(corners) > MOST_CORNERS:
        raise ShapeError(f"A polygon has {len(corners)} corners, more than any outline.")
    crossings = np.zeros((height, width + 1), bool)
    for (x1, y1), (x2, y2) in pairwise([*corners, corners[0]]):
        first, last = np.clip(np.ceil(np.sort([y1, y2]) - 0.5), 0, height).astype(int)
        rows = np.arange(first, last)
        x = x1 + (rows + 0.5 - y1) * (x2 - x1) / (y2 - y1 or 1)
        crossings[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(int)] ^= True
    return np.logical_xor.accumulate(crossings, axis=1)[:, :width]


def _runs(points: np.ndarray, height: int, width: int) -> np.ndarray:
    if len(points) % 2 or (points < 0).any() or (points % 1).any():
        raise ShapeError("A run-length mask needs pairs of a start and a length, whole numbers and none negative.")
    starts, lengths = points[0::2].astype(np.int64), points[1::2].astype(np.int64)
    if len(starts) and (starts + lengths).max() > height * width:
        raise ShapeError(f"A run-length mask goes beyond the {height} x {width} pixels of its image.")
    changes = np.zeros(height * width + 1, np.int32)
    np.add.at(changes, starts, 1)
    np.add.at(changes, starts + lengths, -1)
    return (np.cumsum(changes, out=changes)[:-1] > 0).reshape(width, height).T


def _corners(kind: str, points: np.ndarray) -> np.ndarray:
    if len(points) != 4:
        raise ShapeError(f"A {kind} needs four numbers: left, top, right and bottom edge.")
    return points


def _centres(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(width)[None, :] + 0.5, np.arange(height)[:, None] + 0.5


_DRAW: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "rectangle": _rectangle,
    "ellipse": _ellipse,
    "polygon": _polygon,
    "rle": _runs,
}
