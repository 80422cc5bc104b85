"""Whether a picture shows something, and over which range of its pixels it is shown otherwise.

Attributes of a file can describe a picture that is nearly of one grey: a window that lies beside the pixels, a table
that ends far below the brightness it announces. Such a picture is shown over the range of its pixels instead, or over
the range of most of them where a few are far away. All of this is decided on a sample of the pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import numpy as np

GREYS = 255.0
LEAST_RANGE = GREYS / 8  # grey levels that a picture has to use
LEAST_BETWEEN = 0.01  # of the pixels have to be neither black nor white, where the file tells MANY values apart
MANY = 32
FEWEST = 3.0  # grey levels of range below which a picture shows nothing; noise of a coded black image has fewer
TAIL = 0.005  # of the pixels at either end that do not count: letters, dead pixels
SAMPLED = 128  # rows and columns of a sample, at most twice as many


class Display(Enum):
    """What is shown as black to white; the value is the name of a fallback."""

    DESCRIBED = ""  # what the attributes of the file say
    PIXELS = "range of the pixels"
    MOST_PIXELS = "range of most pixels"


def sample(pixels: np.ndarray) -> np.ndarray:
    """Every n-th row and column of (rows, columns, ...), so that a sample has about SAMPLED x SAMPLED pixels."""
    down, across = (max(1, side // SAMPLED) for side in pixels.shape[:2])
    return pixels[::down, ::across]


def choose_display(levels_of: Callable[[Display], np.ndarray], values: np.ndarray) -> Display:
    """The first display in which the picture shows something, or that of the widest range.

    `levels_of` gives the grey levels of a sample in a display, `values` are the numbers of the file behind them; both
    are without padding. Where the values are all the same, no display shows anything.
    """
    if not values.size or not spread(values) > 0:
        return Display.DESCRIBED
    ranges: dict[Display, float] = {}
    for display in Display:
        levels = levels_of(display)
        ranges[display] = spread(levels)
        if ranges[display] >= LEAST_RANGE and not _is_cut(levels, values):
            return display
    return max(ranges, key=lambda display: ranges[display])


def _is_cut(levels: np.ndarray, values: np.ndarray) -> bool:
    """Whether a file of many values is shown in black and white."""
    between = ((levels > 0.5) & (levels < GREYS - 0.5)).mean()
    return bool(between < LEAST_BETWEEN) and len(np.unique(values)) >= MANY


def inner_range(values: np.ndarray) -> tuple[float, float]:
    """The lowest and the highest value without TAIL of them at either end."""
    flat = values.ravel()
    first = int(TAIL * len(flat))
    last = len(flat) - 1 - first
    ordered = np.partition(flat, (first, last))
    return float(ordered[first]), float(ordered[last])


def stretch(levels: np.ndarray, whole: np.ndarray, display: Display) -> np.ndarray:
    """Grey levels of some pixels of a file that has no others, shown over the range of the `whole` picture; float32."""
    if display is Display.DESCRIBED:
        return levels
    ends = (whole.min(), whole.max()) if display is Display.PIXELS else inner_range(sample(whole))
    low, high = float(ends[0]), float(ends[1])
    return np.clip((levels.astype(np.float32) - low) * (GREYS / max(high - low, 1e-6)), 0, GREYS)


def spread(values: np.ndarray) -> float:
    """The range without TAIL of the values at either end."""
    low, high = inner_range(values)
    return high - low
