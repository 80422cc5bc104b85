"""From stored DICOM values to the grey levels a viewer shows (PS3.3 C.7.6.3, C.11.1 and C.11.2).

Stored values -> Modality LUT or rescale -> VOI LUT or window -> photometric interpretation -> padding is black.
Choices the standard leaves open: a VOI LUT goes before a window, the first of several counts, and without a usable
one the range of the pixels, padding left out, is stretched over the grey levels. What cannot be used counts as absent:
an attribute that is no finite number, a table that is damaged or of one value, a pixel that is NaN or infinite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from imaging.dicom.contrast import Display, inner_range, sample
from imaging.dicom.numbers import read_numbers
from imaging.errors import ImageError

WHITE = 255.0
FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
CODE_BITS = 16  # of the values that a table can have
CODES = 1 << CODE_BITS
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601
COLOUR = ("RGB", "PALETTE COLOR", "YBR_ICT", "YBR_RCT")  # the decoder turns the last two into RGB


def grey_levels(
    values: np.ndarray,
    pixels: Callable[[], np.ndarray],
    dataset: Dataset,
    display: Display = Display.DESCRIBED,
) -> np.ndarray:
    """Grey levels, 0 to 255 and not rounded, of stored values; `pixels` gives those of the frame.

    Only where their range is shown are the pixels asked for: in other displays than the described one, and where there
    is no window. ImageError where the attributes make no grey levels of the values.
    """
    absent = find_absent(values, dataset)
    with np.errstate(over="ignore", invalid="ignore"):
        shown = _voi(_modality(values, dataset), dataset) if display is Display.DESCRIBED else None
        if shown is None:
            inner = display is Display.MOST_PIXELS
            shown = _linear(_modality(values, dataset), *_range(pixels(), dataset, inner))
            if _table_falls(dataset):
                shown = 1 - shown
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    if absent is not None:
        shown[absent] = 0
    if not np.isfinite(shown).all():
        raise _too_large()
    return np.clip(shown, 0, 1) * WHITE


def is_colour(dataset: Dataset) -> bool:
    """Whether the pixels, or the palette they point into, are coloured."""
    return int(dataset.get("SamplesPerPixel") or 1) > 1 or dataset.PhotometricInterpretation == "PALETTE COLOR"


def luminance(numbers: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Grey levels, 0 to 255 and not rounded, of a colour frame: the Y of YBR, or weighted RGB, or of a palette."""
    if numbers.dtype.kind == "f":
        raise ImageError("unreadable_pixels", "The pixels are floating-point numbers, which have no colour.")
    brightest = (1 << int(dataset.BitsStored)) - 1
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        numbers = apply_color_lut(numbers, dataset)[..., :3]
        brightest = np.iinfo(numbers.dtype).max
    elif dataset.PhotometricInterpretation not in COLOUR:
        numbers = numbers[..., 0] if numbers.ndim == 3 else numbers
    grey = numbers.astype(np.float32) @ LUMINANCE if numbers.ndim == 3 else numbers.astype(np.float32)
    return np.clip(grey / brightest, 0, 1) * WHITE


def _modality(values: np.ndarray, dataset: Dataset) -> np.ndarray:
    signed = int(dataset.get("PixelRepresentation", 0)) == 1
    table = _read_table(dataset, "ModalityLUTSequence", signed)
    if table:
        return table.look_up(values)
    slope, intercept = (_first(read_numbers(dataset, name)) for name in ("RescaleSlope", "RescaleIntercept"))
    rescaled = values * (slope or 1.0) + (intercept or 0.0)
    if np.isinf(rescaled).any() and not np.isinf(values).any():
        raise _too_large()
    return rescaled


def _voi(values: np.ndarray, dataset: Dataset) -> np.ndarray | None:
    """Values of interest between 0 and 1; None where the dataset has neither usable table nor usable window."""
    table = _read_table(dataset, "VOILUTSequence", _may_be_negative(dataset))
    if table:
        return table.look_up(values) / table.brightest
    function = str(dataset.get("VOILUTFunction")).upper()
    function = function if function in FUNCTIONS else "LINEAR"
    window = _window(dataset, narrowest=1 if function == "LINEAR" else 1e-9)
    if window is None:
        return None
    centre, width = window
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - centre) / width))
    if function == "LINEAR":  # C.11.2.1.2.1: the window ends on the centres of pixel values
        centre, width = centre - 0.5, width - 1
    return _linear(values, centre - width / 2, centre + width / 2)


def _table_falls(dataset: Dataset) -> bool:
    """Whether a VOI LUT, which gives way to the range of the pixels, makes high values dark."""
    table = _read_table(dataset, "VOILUTSequence", _may_be_negative(dataset))
    return table is not None and bool(table.entries[-1] < table.entries[0])


def _window(dataset: Dataset, narrowest: float) -> tuple[float, float] | None:
    """Centre and width of the first window that is one."""
    windows = zip(read_numbers(dataset, "WindowCenter"), read_numbers(dataset, "WindowWidth"), strict=False)
    return next((window for window in windows if np.isfinite(window).all() and window[1] >= narrowest), None)


@dataclass(frozen=True)
class _Table:
    """A LUT: what the values from `first` on become, at most `brightest`."""

    entries: np.ndarray
    first: int
    brightest: float

    def look_up(self, values: np.ndarray) -> np.ndarray:
        """What values become; those outside the table take its first or last entry."""
        positions = np.clip(np.rint(np.nan_to_num(values) - np.float64(self.first)), 0, len(self.entries) - 1)
        return self.entries[positions.astype(np.intp)]


def _read_table(dataset: Dataset, sequence: str, signed: bool) -> _Table | None:
    """The first LUT of a sequence, whose input values are `signed` or not; None where there is no usable one."""
    try:
        item = (dataset.get(sequence) or [None])[0]
        if item is None:
            return None
        count, first, bits = (int(number) for number in item.LUTDescriptor)
        entries = _entries(item, count or 1 << CODE_BITS)  # 0 stands for 65,536
    except MemoryError:
        raise
    except Exception:  # pydicom raises whatever the damage leads it to
        return None
    if not len(entries) or not np.isfinite(entries).all() or entries.min() == entries.max():
        return None
    first &= CODES - 1  # the sign is in the values, not in the representation that the attribute was written with
    bits = max(bits if bits <= CODE_BITS else 0, int(entries.max()).bit_length())  # often given too modestly
    return _Table(entries, first - CODES if signed and first >= CODES // 2 else first, (1 << bits) - 1)


def _entries(item: Dataset, count: int) -> np.ndarray:
    data = item.LUTData
    if isinstance(data, bytes):
        endian = "<" if item.original_encoding[1] is not False else ">"
        is_wide = len(data) >= 2 * count
        data = np.frombuffer(data[: len(data) // 2 * 2] if is_wide else data, endian + "u2" if is_wide else "u1")
    return np.atleast_1d(np.asarray(data)).astype(np.float64)[:count]


def _may_be_negative(dataset: Dataset) -> bool:
    """Whether values behind the Modality LUT or the rescaling can be negative."""
    if dataset.get("ModalityLUTSequence"):
        return False
    slope, intercept = (_first(read_numbers(dataset, name)) for name in ("RescaleSlope", "RescaleIntercept"))
    return int(dataset.get("PixelRepresentation", 0)) == 1 or (slope or 1.0) < 0 or (intercept or 0.0) < 0


def _first(numbers: Sequence[float]) -> float | None:
    """The first number, if it is finite."""
    return numbers[0] if len(numbers) and np.isfinite(numbers[0]) else None


def find_padding(dataset: Dataset) -> tuple[int, int] | None:
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


def find_absent(values: np.ndarray, dataset: Dataset) -> np.ndarray | None:
    """Which values are padding or no number; None where none can be."""
    absent = ~np.isfinite(values) if values.dtype.kind == "f" else None
    padding = find_padding(dataset)
    if padding is not None:
        padded = (values >= padding[0]) & (values <= padding[1])
        absent = padded if absent is None else absent | padded
    return absent


def _range(pixels: np.ndarray, dataset: Dataset, inner: bool) -> tuple[float, float]:
    """Lowest and highest value of a frame behind the rescaling; of the padding if there is nothing else.

    `inner`: of most pixels.
    """
    if inner:
        pixels = sample(pixels)
    absent = find_absent(pixels, dataset)
    inside = pixels if absent is None else pixels[~absent]
    if not inside.size:
        inside = pixels[np.isfinite(pixels)]
    if not inside.size:
        raise ImageError("unreadable_pixels", "No pixel is a number.")
    ends = np.array(inner_range(inside) if inner else (inside.min(), inside.max()))
    low, high = np.sort(_modality(ends, dataset)).tolist()
    if low == high and ends[0] < ends[1]:
        raise ImageError("unreadable_pixels", "The rescaling leaves no difference between the pixels.")
    return low, high


def _linear(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if high <= low:
        return (values > high).astype(np.float64)
    return np.clip((values - low) / (high - low), 0, 1)


def _too_large() -> ImageError:
    return ImageError(
        "unreadable_pixels", "The numbers of the pixels, or of their rescaling, are too large to be shown."
    )
