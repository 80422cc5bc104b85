"""From stored DICOM values to the grey levels a viewer shows (PS3.3 C.7.6.3, C.11.1 and C.11.2).

Stored values -> Modality LUT or rescale -> VOI LUT or window -> photometric interpretation -> padding is black.
Choices the standard leaves open: a VOI LUT goes before a window, the first of several counts, and without a usable
one the range of the pixels, padding left out, is stretched over the grey levels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

WHITE = 255.0
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601
COLOUR = ("RGB", "PALETTE COLOR", "YBR_ICT", "YBR_RCT")  # the decoder turns the last two into RGB


def grey_levels(values: np.ndarray, pixels: Callable[[], np.ndarray], dataset: Dataset) -> np.ndarray:
    """Grey levels, 0 to 255 and not rounded, of stored values; `pixels` gives those of the frame.

    Only where there is no window are the pixels asked for: their range is shown then.
    """
    padding = _padding(dataset)
    shown = _voi(_modality(values, dataset), dataset)
    if shown is None:
        extent = _modality(_extent(pixels(), padding), dataset)
        shown = _linear(_modality(values, dataset), float(extent.min()), float(extent.max()))
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    if padding is not None:
        shown[(values >= padding[0]) & (values <= padding[1])] = 0
    return np.clip(shown, 0, 1) * WHITE


def is_colour(dataset: Dataset) -> bool:
    """Whether the pixels, or the palette they point into, are coloured."""
    return int(dataset.get("SamplesPerPixel") or 1) > 1 or dataset.PhotometricInterpretation == "PALETTE COLOR"


def luminance(numbers: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Grey levels, 0 to 255 and not rounded, of a colour frame: the Y of YBR, or weighted RGB, or of a palette."""
    brightest = (1 << int(dataset.BitsStored)) - 1
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        numbers = apply_color_lut(numbers, dataset)[..., :3]
        brightest = np.iinfo(numbers.dtype).max
    elif dataset.PhotometricInterpretation not in COLOUR:
        numbers = numbers[..., 0] if numbers.ndim == 3 else numbers
    grey = numbers.astype(np.float32) @ LUMINANCE if numbers.ndim == 3 else numbers.astype(np.float32)
    return np.clip(grey / brightest, 0, 1) * WHITE


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
        endian = "<" if item.original_encoding[1] is not False else ">"
        data = np.frombuffer(data, endian + "u2" if len(data) >= 2 * entries else "u1")
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
    ends = [_signed(number, dataset) for number in (value, limit if isinstance(limit, int) else value)]
    return min(ends), max(ends)


def _signed(number: int, dataset: Dataset) -> int:
    """The number that an unsigned attribute means where the pixels are signed; many writers mix the two up."""
    wrong = int(dataset.get("PixelRepresentation", 0)) == 1 and number >= 1 << 15
    return number - (1 << 16) if wrong else number


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
