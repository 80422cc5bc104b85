"""From stored DICOM values to the grey levels a viewer shows (PS3.3 C.7.6.3, C.11.1 and C.11.2).

Up to 16 bits the chain is worked out once for every code up to the highest in the film and looked up for the
pixels, so that no full-size array of floats is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

Unpack = Callable[[np.ndarray], np.ndarray]
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601
ROWS_AT_ONCE = 16  # so that the indices of a look-up stay in the cache: twice as fast as the whole image


def show_grey(frame: np.ndarray, unpack: Unpack, dataset: Dataset) -> np.ndarray:
    """Grey levels (uint8) of a monochrome frame (height, width); `unpack` makes stored values of its numbers."""
    if frame.dtype.kind == "f" or frame.itemsize > 2:
        return _levels(frame, lambda: frame, dataset)
    codes = frame.view(f"u{frame.itemsize}")
    every_code = np.arange(int(codes.max()) + 1, dtype=np.uint32).astype(codes.dtype)
    table = _levels(unpack(every_code), lambda: unpack(codes), dataset)
    return _look_up(table, codes)


def show_colour(pixels: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Luminance (uint8) of RGB pixels (height, width, 3) or of palette indices (height, width)."""
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)[..., :3]
        brightest = np.iinfo(pixels.dtype).max
    else:
        brightest = (1 << int(dataset.BitsStored)) - 1
    return _to_8_bit(pixels.astype(np.float32) @ LUMINANCE / brightest)


def _levels(values: np.ndarray, pixels: Callable[[], np.ndarray], dataset: Dataset) -> np.ndarray:
    """Grey levels of `values`, those of all codes or of the pixels; the pixels give the range if no window does."""
    padding = _padding(dataset)
    shown = _voi(_modality(values, dataset), dataset)
    if shown is None:
        extent = _modality(_extent(pixels(), padding), dataset)
        shown = _linear(_modality(values, dataset), float(extent.min()), float(extent.max()))
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    if padding is not None:
        shown[(values >= padding[0]) & (values <= padding[1])] = 0
    return _to_8_bit(shown)


def _modality(values: np.ndarray, dataset: Dataset) -> np.ndarray:
    if dataset.get("ModalityLUTSequence"):
        return _apply_lut(values, dataset.ModalityLUTSequence[0])[0]
    slope = _number(dataset.get("RescaleSlope"), default=1.0)
    return values * (slope or 1.0) + _number(dataset.get("RescaleIntercept"), default=0.0)


def _voi(values: np.ndarray, dataset: Dataset) -> np.ndarray | None:
    """Values of interest between 0 and 1; None where the dataset has neither table nor usable window."""
    if dataset.get("VOILUTSequence"):
        table, bits = _apply_lut(values, dataset.VOILUTSequence[0])
        return table / ((1 << bits) - 1)
    centre, width = (_number(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    if np.isnan(centre) or not width >= (1 if function == "LINEAR" else 1e-9):
        return None
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            return 1 / (1 + np.exp(-4 * (values - centre) / width))
    if function == "LINEAR":  # C.11.2.1.2.1: the window ends on the centres of pixel values
        centre, width = centre - 0.5, width - 1
    return _linear(values, centre - width / 2, centre + width / 2)


def _apply_lut(values: np.ndarray, item: Dataset) -> tuple[np.ndarray, int]:
    """Map values through a LUT item; values outside it take its first or last entry. Also its bit depth."""
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    entries = entries or 1 << 16  # 0 stands for 65,536
    data = item.LUTData
    if isinstance(data, bytes):
        data = np.frombuffer(data, "<u2" if len(data) >= 2 * entries else "u1")
    table = np.atleast_1d(np.asarray(data)).astype(np.float64)[:entries]
    bits = max(bits, int(table.max()).bit_length())  # the descriptor is often too modest
    positions = np.clip(np.rint(values - np.float64(first)), 0, len(table) - 1)
    return table[positions.astype(np.intp)], bits


def _number(value: Any, default: float = np.nan) -> float:
    """First number of an attribute of one or several; `default` where it is absent or empty."""
    if isinstance(value, (list, tuple)) or hasattr(value, "append"):
        value = value[0] if len(value) else None
    return default if value is None or value == "" else float(value)


def _padding(dataset: Dataset) -> tuple[int, int] | None:
    """Lowest and highest stored value that marks pixels outside the field of view."""
    value = dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    limit = limit if isinstance(limit, int) else value
    return min(value, limit), max(value, limit)


def _extent(pixels: np.ndarray, padding: tuple[int, int] | None) -> np.ndarray:
    """Lowest and highest stored value that is not padding."""
    if padding is not None:
        inside = pixels[(pixels < padding[0]) | (pixels > padding[1])]
        pixels = inside if inside.size else pixels
    return np.array([pixels.min(), pixels.max()])


def _linear(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if high <= low:
        return (values > high).astype(np.float64)
    return np.clip((values - low) / (high - low), 0, 1)


def _to_8_bit(shown: np.ndarray) -> np.ndarray:
    return (np.clip(shown, 0, 1) * 255 + 0.5).astype(np.uint8)


def _look_up(table: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """`table[codes]`, a few rows at a time."""
    levels = np.empty(codes.shape, np.uint8)
    for top in range(0, len(codes), ROWS_AT_ONCE):
        rows = slice(top, top + ROWS_AT_ONCE)
        np.take(table, codes[rows], out=levels[rows], mode="clip")
    return levels
