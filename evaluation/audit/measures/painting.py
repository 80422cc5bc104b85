"""Paints regions of an image over with their surroundings, and chooses regions to compare with."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np

RADIUS = 3  # pixels around a region that its filling is made of (Telea, 2004)
MARGIN = 1  # pixels around a mask that are painted over with it
CORNER = 0.15  # side of a corner, as a share of the shorter side of the image
RIM = 0.05  # width of the rim, as a share of the shorter side
SHIFTS = (0.2, -0.2, 0.3, -0.3, 0.12, -0.12)  # of a control region, as shares of the side: across, then down

Region = np.ndarray  # (size, size) bool


def paint_over(image: np.ndarray, region: Region) -> np.ndarray:
    """A copy of a grey image (size, size) uint8 in which a region continues its surroundings."""
    return cv2.inpaint(image, region.astype(np.uint8), RADIUS, cv2.INPAINT_TELEA)


def widen(mask: Region) -> Region:
    """The mask with a margin, so that nothing of the edge of what it covers is left."""
    kernel = np.ones((2 * MARGIN + 1,) * 2, np.uint8)
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)


def move_aside(mask: Region, avoided: Region, frame: Region) -> Region | None:
    """A mask of the same shape elsewhere in the image: off the mask itself and `avoided`, and within the `frame`.

    None where there is no such place among those that are tried.
    """
    size = len(mask)
    rows, columns = np.nonzero(mask)
    for axis in (1, 0):
        for share in SHIFTS:
            step = round(share * size)
            down, across = (rows, columns + step) if axis == 1 else (rows + step, columns)
            if min(down.min(), across.min()) < 0 or max(down.max(), across.max()) >= size:
                continue
            moved = np.zeros_like(mask)
            moved[down, across] = True
            if not (moved & (mask | avoided)).any() and not (moved & ~frame).any():
                return moved
    return None


def find_corners(frame: Region) -> tuple[Region, Region]:
    """The four corners of the image inside its square, and as control squares of the same size between them."""
    top, bottom, left, right = _edges(frame)
    side = max(1, round(CORNER * min(bottom - top, right - left)))
    middle_row, middle_column = (top + bottom - side) // 2, (left + right - side) // 2
    corners = [(row, column) for row in (top, bottom - side) for column in (left, right - side)]
    between = [(top, middle_column), (bottom - side, middle_column), (middle_row, left), (middle_row, right - side)]
    return _squares(frame, corners, side), _squares(frame, between, side)


def find_rim(frame: Region) -> tuple[Region, Region]:
    """The rim of the image inside its square, and as control the next rim of the same width inside of it."""
    top, bottom, left, right = _edges(frame)
    width = max(1, round(RIM * min(bottom - top, right - left)))
    nested = []
    for step in range(3):
        inner = np.zeros_like(frame)
        inner[top + step * width : bottom - step * width, left + step * width : right - step * width] = True
        nested.append(inner)
    return nested[0] & ~nested[1], nested[1] & ~nested[2]


PLACES: Mapping[str, Callable[[Region], tuple[Region, Region]]] = {  # where text and marks are burned in
    "corners (marks, burned-in text)": find_corners,
    "rim (burned-in text)": find_rim,
}


def _edges(frame: Region) -> tuple[int, int, int, int]:
    rows, columns = (np.flatnonzero(frame.any(axis=axis)) for axis in (1, 0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _squares(frame: Region, places: list[tuple[int, int]], side: int) -> Region:
    found = np.zeros_like(frame)
    for row, column in places:
        found[row : row + side, column : column + side] = True
    return found
