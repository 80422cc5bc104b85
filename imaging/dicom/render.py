"""A stored frame as grey levels, at full size or averaged down in one pass over its rows.

Up to 16 bits the display chain is worked out once for every number between the lowest and the highest of the frame.
The mean over an area of what it gives is had in one of two ways, and neither is further than one grey level from
averaging the full-size 8-bit image:
- a linear window cuts numbers off at its ends and scales the rest. The full-size numbers are cut off, averaged, and
  the mean is scaled. Its ends are taken at whole numbers, so that it is used only where a number is worth at most
  `FLATTEST_STEP` grey levels.
- any other function, and a window narrower than that, is looked up for every pixel before averaging.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from pydicom.dataset import Dataset

from imaging.dicom.contrast import Display, choose_display, sample, stretch
from imaging.dicom.display import find_absent, grey_levels, is_colour, luminance
from imaging.dicom.reader import StoredFrame
from imaging.shrink import Prepare, copy_band, shrink

FLATTEST_STEP = 0.25  # grey levels per stored number: cutting half a number off costs an eighth of a level
TOLERANCE = 0.01  # grey levels by which a function that counts as linear may miss the line
ROWS_AT_ONCE = 16  # so that the indices of a look-up stay in the cache: twice as fast as the whole image


@dataclass(frozen=True)
class _Ramp:
    """Grey level `slope * number + offset`, numbers outside `first`..`last` cut off."""

    slope: float
    offset: float
    first: int
    last: int
    is_whole: bool  # no number of the frame lies outside


def find_display(frame: StoredFrame, dataset: Dataset) -> Display:
    """How the frame shows something, if anything."""
    values = frame.unpack(_native(replace(frame, numbers=sample(frame.numbers))))
    if is_colour(dataset):
        levels = luminance(values, dataset)
        return choose_display(partial(_stretch_colour, levels, frame, dataset), levels)
    absent = find_absent(values, dataset)
    present = values if absent is None else values[~absent]
    return choose_display(partial(grey_levels, present, lambda: frame.unpack(_native(frame)), dataset), present)


def _stretch_colour(levels: np.ndarray, frame: StoredFrame, dataset: Dataset, display: Display) -> np.ndarray:
    """Levels of some pixels of a colour frame, all of which are looked at only where their range is shown."""
    if display is Display.DESCRIBED:
        return levels
    return stretch(levels, luminance(frame.unpack(frame.numbers), dataset), display)


def render_full_size(frame: StoredFrame, dataset: Dataset, display: Display = Display.DESCRIBED) -> np.ndarray:
    """Grey levels (rows, columns), uint8."""
    if not _has_table(frame, dataset):
        return round_levels(_levels_of_pixels(frame, dataset, display))
    native = _native(frame)
    every, levels = _every_level(native, frame, dataset, display)
    return _look_up(_by_code(every, round_levels(levels)), _codes(native))


def render_averages(
    frame: StoredFrame, dataset: Dataset, height: int, width: int, display: Display = Display.DESCRIBED
) -> np.ndarray:
    """Grey levels (height, width), uint8: means over areas of the frame, which must not be smaller."""
    if not _has_table(frame, dataset):
        return round_levels(shrink(_levels_of_pixels(frame, dataset, display), height, width))
    native = _native(frame)
    every, levels = _every_level(native, frame, dataset, display)
    ramp = _find_ramp(int(every[0]), levels)
    if ramp is None:
        table = _by_code(every, levels.astype(np.float32))
        return round_levels(shrink(_codes(native), height, width, partial(_look_up_band, table)))
    means = shrink(native, height, width, _cut_off(native, ramp))
    return round_levels(np.clip(means * np.float32(ramp.slope) + np.float32(ramp.offset), levels.min(), levels.max()))


def round_levels(levels: np.ndarray) -> np.ndarray:
    """Grey levels between 0 and 255 as uint8."""
    return (levels + 0.5).astype(np.uint8)


def _has_table(frame: StoredFrame, dataset: Dataset) -> bool:
    return not is_colour(dataset) and frame.numbers.dtype.kind in "iu" and frame.numbers.itemsize <= 2


def _levels_of_pixels(frame: StoredFrame, dataset: Dataset, display: Display) -> np.ndarray:
    values = frame.unpack(frame.numbers)
    if is_colour(dataset):
        levels = luminance(values, dataset)
        return stretch(levels, levels, display)
    return grey_levels(values, lambda: values, dataset, display)


def _native(frame: StoredFrame) -> np.ndarray:
    """The numbers with the sign they have if no bit is unused."""
    return frame.numbers.view(f"{'i' if frame.signed else 'u'}{frame.numbers.itemsize}")


def _codes(native: np.ndarray) -> np.ndarray:
    return native.view(f"u{native.itemsize}")


def _every_level(
    native: np.ndarray, frame: StoredFrame, dataset: Dataset, display: Display
) -> tuple[np.ndarray, np.ndarray]:
    """Every number between the lowest and the highest of the frame, in order, and its grey level."""
    every = np.arange(int(native.min()), int(native.max()) + 1, dtype=np.int32).astype(native.dtype)
    return every, grey_levels(frame.unpack(every), lambda: frame.unpack(native), dataset, display)


def _by_code(every: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """A table to be indexed by the numbers read as unsigned."""
    codes = _codes(every)
    table = np.zeros(int(codes.max()) + 1, levels.dtype)
    table[codes] = levels
    return table


def _find_ramp(lowest: int, levels: np.ndarray) -> _Ramp | None:
    """The line that the levels of consecutive numbers follow between their two ends, if they do."""
    bottom, top = levels.min(), levels.max()
    inside = np.flatnonzero((levels > bottom) & (levels < top))
    if len(inside) < 2:
        return None
    start, end = int(inside[0]), int(inside[-1])
    slope = float(levels[end] - levels[start]) / max(end - start, 1)
    line = levels[start] + slope * (np.arange(len(levels)) - start)
    if not 0 < abs(slope) <= FLATTEST_STEP or np.abs(np.clip(line, bottom, top) - levels).max() > TOLERANCE:
        return None
    ends = sorted(start + (level - levels[start]) / slope for level in (bottom, top))
    first, last = (int(np.clip(np.rint(end), 0, len(levels) - 1)) for end in ends)
    is_whole = (first, last) == (0, len(levels) - 1)
    return _Ramp(slope, float(levels[start]) - slope * (lowest + start), lowest + first, lowest + last, is_whole)


def _cut_off(native: np.ndarray, ramp: _Ramp) -> Prepare:
    if ramp.is_whole:
        return copy_band
    first, last = native.dtype.type(ramp.first), native.dtype.type(ramp.last)

    def prepare(band: np.ndarray, out: np.ndarray) -> None:
        out[...] = np.clip(band, first, last)

    return prepare


def _look_up_band(table: np.ndarray, band: np.ndarray, out: np.ndarray) -> None:
    np.take(table, band, out=out, mode="clip")


def _look_up(table: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """`table[codes]`, a few rows at a time."""
    levels = np.empty(codes.shape, table.dtype)
    for top in range(0, len(codes), ROWS_AT_ONCE):
        rows = slice(top, top + ROWS_AT_ONCE)
        np.take(table, codes[rows], out=levels[rows], mode="clip")
    return levels
