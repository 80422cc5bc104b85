"""Where in a stored number the value of a pixel lies, where the header and the numbers contradict each other."""

from __future__ import annotations

import numpy as np

ROWS = 64  # of a picture are looked at, at most twice as many


def find_depth(
    numbers: np.ndarray, stored: int, high_bit: int, signed: bool, padding: tuple[int, int] | None = None
) -> tuple[int, int]:
    """Bits of a value, and the highest of them.

    A header that places values at the top of their numbers is not believed where all numbers are small. Bits above the
    value may hold an overlay, or the value has more bits than the header says. An overlay adds steps to a picture, and
    cutting off bits of the value adds them as well: the picture with the smaller steps is the radiograph. Steps to
    `padding`, the lowest and the highest code that mark it, do not count; where it lies above the value, so do values.
    """
    if numbers.dtype.kind == "f" or not 1 <= stored <= high_bit + 1 <= numbers.itemsize * 8:
        return stored, high_bit
    codes = _codes(numbers)
    if high_bit >= stored and not signed and int(codes.max()) < 1 << stored:
        return stored, stored - 1
    whole = int(codes.max()).bit_length()
    if signed or high_bit >= stored or whole <= stored:
        return stored, high_bit
    masked = codes & ((1 << stored) - 1)
    counted = _steps_that_count(codes, padding)
    added, cut = _roughness(codes, counted), _roughness(masked, counted)
    is_whole = added <= cut if padding is not None and padding[1] >> stored else added < cut
    return (whole, whole - 1) if is_whole else (stored, high_bit)


def _codes(numbers: np.ndarray) -> np.ndarray:
    return numbers.view(f"u{numbers.itemsize}")


def _some_rows(codes: np.ndarray) -> np.ndarray:
    return codes[:: max(1, len(codes) // ROWS)]


def _steps_that_count(codes: np.ndarray, padding: tuple[int, int] | None) -> np.ndarray:
    """Which steps from a pixel to its neighbour are between pixels that are no padding."""
    rows = _some_rows(codes)
    present = np.ones(rows.shape, bool) if padding is None else (rows < padding[0]) | (rows > padding[1])
    return present[:, 1:] & present[:, :-1]


def _roughness(codes: np.ndarray, counted: np.ndarray) -> float:
    """Sum of the steps from a pixel to its neighbour."""
    steps = np.abs(np.diff(_some_rows(codes).astype(np.float64), axis=1))
    return float(steps[counted].sum())
