"""Area averages of a JPG from a decoding at half or a quarter of its size, where that is as good as the full one.

The decoder then averages blocks of 2 x 2 or 4 x 4 pixels, almost for nothing. What is lost is where in a block an
edge runs, which matters for the blocks that a border between two pixels of the result cuts through. The error there
is estimated from the blocks around; an image with hard edges on such blocks, burned-in text for one, is decoded at full
size instead.
"""

from __future__ import annotations

from typing import BinaryIO

import cv2
import numpy as np

from imaging.raster import read_raster
from imaging.shrink import narrow

FEWEST_BLOCKS = 2.5  # along a pixel of the result
SECOND_DIFFERENCE = np.array([[1], [-2], [1]], np.float32)
NEIGHBOURS = np.ones((3, 1), np.uint8)
ALLOWED = 1.0  # grey level; of what is estimated at worst, images turn out to be half as far off


def shrink_jpg(stream: BinaryIO, full: tuple[int, int], height: int, width: int) -> np.ndarray | None:
    """Mean grey levels (float32) of an open JPG of `full` (height, width) under each of (height, width) pixels.

    None where only decoding at full size gives them to within one grey level.
    """
    reduction = _reduction(full, height, width)
    if reduction == 1:
        return None
    blocks = read_raster(stream, reduction).astype(np.float32)
    if any(length != blocks_along * reduction for length, blocks_along in zip(full, blocks.shape, strict=True)):
        return None  # the last blocks are not whole, or the header lied
    lines = cv2.resize(blocks, (blocks.shape[1], height), interpolation=cv2.INTER_AREA)
    error = _error(narrow(blocks, width), height) + _error(np.ascontiguousarray(lines.T), width).T
    return narrow(lines, width) if error.max() <= ALLOWED else None


def _reduction(full: tuple[int, int], height: int, width: int) -> int:
    step = min(full[0] / height, full[1] / width)
    return next((factor for factor in (4, 2) if step >= FEWEST_BLOCKS * factor), 1)


def _error(blocks: np.ndarray, pixels: int) -> np.ndarray:
    """Error that the borders before and behind each of `pixels` along the first axis cause, (pixels, columns).

    A border cuts off the part f of a block. If grey levels rise evenly within it, by what they rise from block to
    block, the error is f (1 - f) / 2 of the rise; at worst it is f (1 - f) of the range inside the block, of which an
    edge or a line shows at least half as a bend of the levels at this block or its neighbours.
    """
    step = len(blocks) / pixels
    borders = np.arange(1, pixels) * step
    cut = borders.astype(np.intp)
    part = borders - cut
    share = (part * (1 - part) / step).astype(np.float32)[:, None]
    bends = cv2.filter2D(blocks, -1, SECOND_DIFFERENCE, borderType=cv2.BORDER_REPLICATE)
    bends = cv2.dilate(np.abs(bends, out=bends), NEIGHBOURS)
    even = (blocks[np.minimum(cut + 1, len(blocks) - 1)] - blocks[cut - 1]) * (share / 4)
    uneven = bends[cut] * (2 * share)
    error = np.zeros((pixels, blocks.shape[1]), np.float32)
    error[:-1] = even  # what is moved over a border one pixel loses and the next one gains
    error[1:] -= even
    np.abs(error, out=error)
    error[:-1] += uneven
    error[1:] += uneven
    return error
