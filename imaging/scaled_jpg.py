"""Area averages of a JPG from a decoding at half or a quarter of its size, where that is as good as the full one.

The decoder then averages blocks of 2 x 2 or 4 x 4 pixels, almost for nothing. What is lost is where in a block an
edge runs, which matters for the blocks that a border between two pixels of the result cuts through. The error there
is bounded from the differences to the neighbouring blocks; a film with hard edges on such blocks, burned-in text for
one, is decoded at full size instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

import cv2
import numpy as np

from imaging.raster import read_raster
from imaging.shrink import average_rows, narrow

FINEST_STEP = 4  # blocks along a pixel of the result
ALLOWED = 1.0  # grey level of the result; the bound is four times the error of a smooth slope


def shrink_jpg(stream: BinaryIO, full: tuple[int, int], height: int, width: int) -> np.ndarray | None:
    """Mean grey levels (float32) of an open JPG of `full` (height, width) under each of (height, width) pixels.

    None where only decoding at full size gives them to within one grey level.
    """
    reduction = _reduction(full, height, width)
    if reduction == 1:
        return None
    blocks = read_raster(stream, reduction)
    if any(length != blocks_along * reduction for length, blocks_along in zip(full, blocks.shape, strict=True)):
        return None  # the last blocks are not whole, or the header lied
    lines = average_rows(blocks, height)
    down = _error(blocks, height, lambda ranges: narrow(ranges, width))
    across = _error(lines.T, width, lambda ranges: ranges).T
    return narrow(lines, width) if (down + across).max() <= ALLOWED else None


def _reduction(full: tuple[int, int], height: int, width: int) -> int:
    step = min(full[0] / height, full[1] / width)
    return next((factor for factor in (4, 2) if step >= FINEST_STEP * factor), 1)


def _error(blocks: np.ndarray, pixels: int, average: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Bound of the error that the borders before and behind each of `pixels` along the first axis cause.

    A border that cuts off the part f of a block is wrong by at most f (1 - f) of the range inside of it, which is
    taken for twice the larger difference to the blocks before and behind. `average` works along the second axis.
    """
    step = len(blocks) / pixels
    borders = np.arange(1, pixels) * step
    cut = borders.astype(np.intp)
    part = (borders - cut)[:, None]
    before = cv2.absdiff(blocks[cut], blocks[cut - 1])
    behind = cv2.absdiff(blocks[cut], blocks[np.minimum(cut + 1, len(blocks) - 1)])
    ranges = 2 * average(cv2.max(before, behind).astype(np.float32, copy=False))
    error = np.zeros((pixels + 1, ranges.shape[1]), np.float32)
    error[1:-1] = ranges * part * (1 - part) / step
    return error[:-1] + error[1:]
