"""Where in a stored number the value of a pixel lies, where the header and the numbers contradict each other."""

from __future__ import annotations

import numpy as np


def find_depth(numbers: np.ndarray, stored: int, high_bit: int, signed: bool) -> tuple[int, int]:
    """Bits of a value, and the highest of them.

    A header that places values at the top of their numbers is not believed where all numbers are small. Bits above the
    value may hold an overlay, or the value has more bits than the header says; of the two pictures the smoother one is
    a radiograph.
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
    return (whole, whole - 1) if _roughness(codes) < _roughness(masked) else (stored, high_bit)


def _codes(numbers: np.ndarray) -> np.ndarray:
    return numbers.view(f"u{numbers.itemsize}")


def _roughness(codes: np.ndarray) -> float:
    """Mean step from a pixel to its neighbour, over the range of all pixels."""
    rows = codes[:: max(1, len(codes) // 64)].astype(np.float64)
    if rows.shape[1] < 2 or not np.ptp(rows):
        return np.inf
    return float(np.abs(np.diff(rows, axis=1)).mean() / np.ptp(rows))
