"""Constant borders burned into an image: margins of one grey level that a printer, scanner or viewer added."""

from __future__ import annotations

import numpy as np

SAME = 2  # grey levels within which a border is constant, lossy compression included
SMALLEST = 0.25  # positive share of the image's height and width that has to remain; else nothing is cut off


def remove_borders(grey: np.ndarray) -> np.ndarray:
    """Cut constant border rows and columns off a uint8 image (rows, columns).

    Boxes and masks are not moved with the image, so this is for pretraining on images alone.
    """
    rows, columns = find_inner(grey)
    return grey[rows, columns]


def find_inner(grey: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns that `remove_borders` leaves."""
    whole = slice(0, len(grey)), slice(0, grey.shape[1])
    top, bottom = _inner(grey)
    if bottom - top < SMALLEST * len(grey):
        return whole
    inner = grey[top:bottom].T
    left, right = _inner(inner)
    return whole if right - left < SMALLEST * len(inner) else (slice(top, bottom), slice(left, right))


def _inner(grey: np.ndarray) -> tuple[int, int]:
    """First line, and one past the last, that is not part of a constant border."""
    low, high = grey.min(1).astype(np.int16), grey.max(1).astype(np.int16)
    return _border(low, high), len(grey) - _border(low[::-1], high[::-1])


def _border(low: np.ndarray, high: np.ndarray) -> int:
    """Number of leading lines that together span at most SAME grey levels."""
    spread = np.maximum.accumulate(high) - np.minimum.accumulate(low)
    return int(np.count_nonzero(spread <= SAME))
