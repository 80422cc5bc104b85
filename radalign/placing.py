"""Where a network's map lies over a radiograph, in shares of the radiograph's width and height.

Of a network that was trained here, the map lies over the square that a film was letterboxed or squashed into, or over
the middle of it. A released one
squashes, pads or cuts a film as its authors do. Where its input lies is measured: films that rise evenly from black to
white, along and across, say of each point of the input where on the film it is from. Its map covers all of a square
film, by definition, and therefore the same part of its input for a film of any shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from imaging.borders import find_inner
from imaging.letterbox import Frame
from models.method import Method
from models.released.network import ReleasedNetwork
from models.saved import ModelCard

WHITE = 255
SQUARE = 512  # pixels; the side of the square film that is measured
MARGIN = 2  # pixels at the edge of a film that resampling mixes with what is beyond


@dataclass(frozen=True)
class Extent:
    """A rectangle over a film: its left and top edge, width and height, in shares of the film's. It may lie outside."""

    left: float = 0.0
    top: float = 0.0
    width: float = 1.0
    height: float = 1.0


WHOLE = Extent()


@dataclass(frozen=True)
class _Line:
    """Positions along one axis: the share `start + slope * u` of a film, at the share `u` of the input."""

    start: float
    slope: float

    def follow(self, square: _Line) -> tuple[float, float]:
        """Start and length of the map on this film, from where the input lies on a `square` one."""
        first, last = (self.start + self.slope * (end - square.start) / square.slope for end in (0.0, 1.0))
        return first, last - first


def place_map(network: Method, card: ModelCard, shape: tuple[int, int], inner: Extent = WHOLE) -> Extent:
    """Where maps of the network lie over a film of `shape` (height, width).

    `inner` is the part inside the film's borders, which some networks' images are cut to.
    """
    if isinstance(network, ReleasedNetwork):
        return _place_released(network, shape)
    side = card.shard_size or card.size
    part = inner if card.decoding.get("crop_borders") else WHOLE
    height, width = max(1, round(shape[0] * part.height)), max(1, round(shape[1] * part.width))
    frame = Frame.fit(height, width, side, card.squash)
    start, seen = 0, side
    if network.fit == "crop" and side > network.size:
        start, seen = (side - network.size) // 2, network.size
    across, down = part.width / frame.width, part.height / frame.height
    return Extent(
        part.left + (start - frame.left) * across, part.top + (start - frame.top) * down, seen * across, seen * down
    )


def find_part(film: np.ndarray) -> Extent:
    """The part of a film (rows, columns) uint8 inside its constant borders."""
    rows, columns = find_inner(film)
    height, width = film.shape
    return Extent(
        columns.start / width,
        rows.start / height,
        (columns.stop - columns.start) / width,
        (rows.stop - rows.start) / height,
    )


def cut_margin(located: np.ndarray, extent: Extent) -> tuple[np.ndarray, Extent]:
    """A map (rows, columns) without outer rows and columns of zeros, and where the rest of it lies."""
    rows, columns = (np.flatnonzero((located != 0).any(axis)) for axis in (1, 0))
    if not len(rows):
        return located, extent
    (top, bottom), (left, right) = ((int(kept[0]), int(kept[-1]) + 1) for kept in (rows, columns))
    down, across = extent.height / located.shape[0], extent.width / located.shape[1]
    part = Extent(extent.left + left * across, extent.top + top * down, (right - left) * across, (bottom - top) * down)
    return located[top:bottom, left:right], part


def lay_over(located: np.ndarray, extent: Extent, shape: tuple[int, int]) -> np.ndarray:
    """A map (rows, columns) that lies at `extent`, at every pixel of a film of `shape`; NaN where it does not reach."""
    height, width = shape
    rows, columns = located.shape
    across = ((np.arange(width) + 0.5) / width - extent.left) / extent.width
    down = ((np.arange(height) + 0.5) / height - extent.top) / extent.height
    reached = ((down >= 0) & (down <= 1))[:, None] & ((across >= 0) & (across <= 1))
    where = np.meshgrid(across * columns - 0.5, down * rows - 0.5)
    horizontal, vertical = (axis.astype(np.float32) for axis in where)
    levels = cv2.remap(
        located.astype(np.float32), horizontal, vertical, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.where(reached, levels, np.float32(np.nan))


@lru_cache(maxsize=256)
def _place_released(network: ReleasedNetwork, shape: tuple[int, int]) -> Extent:
    across, down = _find_input(network, shape)
    square_across, square_down = _find_input(network, (SQUARE, SQUARE))
    left, width = across.follow(square_across)
    top, height = down.follow(square_down)
    return Extent(left, top, width, height)


@lru_cache(maxsize=256)
def _find_input(network: ReleasedNetwork, shape: tuple[int, int]) -> tuple[_Line, _Line]:
    """Where the input lies on a film of `shape`, across and down."""
    height, width = shape
    halves = np.where(np.arange(width) < width / 2, 0, WHITE).astype(np.uint8)[None].repeat(height, 0)
    black_first, white_first = _input(network, halves), _input(network, WHITE - halves)
    middle = (black_first.min() + black_first.max()) / 2
    black, white = np.median(black_first[black_first < middle]), np.median(black_first[black_first > middle])
    inside = np.maximum(black_first, white_first) > middle
    lines = []
    for axis, length in enumerate((width, height)):
        ramp = np.rint(np.linspace(0, WHITE, length)).astype(np.uint8)
        film = ramp[None].repeat(height, 0) if axis == 0 else ramp[:, None].repeat(width, 1)
        levels = (_input(network, film) - black) / (white - black)
        lines.append(_fit((levels * (length - 1) + 0.5) / length, inside, axis))
    return lines[0], lines[1]


def _fit(positions: np.ndarray, inside: np.ndarray, axis: int) -> _Line:
    """The line through `positions` (rows, columns) on the film, across (axis 0) or down (axis 1) the input."""
    counts = inside.sum(axis)
    places = np.flatnonzero(counts > counts.max() / 2)[MARGIN:-MARGIN]
    means = np.where(inside, positions, 0).sum(axis)[places] / counts[places]
    slope, start = np.polyfit((places + 0.5) / positions.shape[1 - axis], means, 1)
    return _Line(float(start), float(slope))


def _input(network: ReleasedNetwork, film: np.ndarray) -> np.ndarray:
    found: np.ndarray = network.film(film)[0].float().cpu().numpy()
    return found
