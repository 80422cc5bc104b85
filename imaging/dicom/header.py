"""Mends a header whose attributes contradict each other or the pixels, where the picture is certain all the same.

What is mended: whole numbers that are spelt as text, the number of frames, samples and bits per pixel, and the name of
the photometric interpretation. What decides how the pixels lie and cannot be told from them is left as it is.
"""

from __future__ import annotations

import re

from pydicom.dataset import Dataset
from pydicom.pixels.utils import get_expected_length

from imaging.dicom.numbers import read_text, read_whole

WHOLE = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
OPTIONAL = ("PlanarConfiguration", "PixelPaddingValue", "PixelPaddingRangeLimit")
ALLOCATED = (1, 8, 16, 32, 64)
FULL_COLOUR = 3  # samples of a pixel
COLOURED = ("RGB", "YBR")  # the beginnings of interpretations of three samples
UNSPELT = re.compile(r"[^A-Z0-9]")  # in the name of a photometric interpretation, which some write with a blank


def mend_header(dataset: Dataset, pixel_bytes: int = 0) -> None:
    """Mend in place. `pixel_bytes` is the length of the pixels where they are not compressed, 0 where they are."""
    for keyword in (*WHOLE, *OPTIONAL):
        if keyword in dataset:
            _mend_whole(dataset, keyword)
    frames = read_whole(dataset, "NumberOfFrames")
    if "NumberOfFrames" in dataset and (frames is None or frames < 1):
        dataset.NumberOfFrames = 1
    _mend_photometric(dataset)
    _mend_samples(dataset)
    _mend_bits(dataset, pixel_bytes)


def bytes_of_a_frame(dataset: Dataset) -> int:
    """How many bytes the first frame takes where it is not compressed."""
    frame = Dataset()
    for keyword in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "PhotometricInterpretation"):
        setattr(frame, keyword, dataset.get(keyword))
    frame.NumberOfFrames = 1
    return get_expected_length(frame)


def _mend_whole(dataset: Dataset, keyword: str) -> None:
    """Write a whole number anew, with the representation that it should have, or remove what is none."""
    number = read_whole(dataset, keyword)
    del dataset[keyword]
    if number is not None:
        setattr(dataset, keyword, number)


def _mend_photometric(dataset: Dataset) -> None:
    """Spell it as the standard does; without one, the look-up table of the presentation says which end is dark."""
    name = UNSPELT.sub("", read_text(dataset, "PhotometricInterpretation").upper())
    if name in ("MONOCHROME1", "MONOCHROME2"):
        dataset.PhotometricInterpretation = name
    elif not name and dataset.get("SamplesPerPixel", 1) < FULL_COLOUR:
        inverse = UNSPELT.sub("", read_text(dataset, "PresentationLUTShape").upper()) == "INVERSE"
        dataset.PhotometricInterpretation = "MONOCHROME1" if inverse else "MONOCHROME2"


def _mend_samples(dataset: Dataset) -> None:
    if dataset.get("SamplesPerPixel") not in (1, FULL_COLOUR):
        coloured = str(dataset.get("PhotometricInterpretation")).startswith(COLOURED)
        dataset.SamplesPerPixel = FULL_COLOUR if coloured else 1


def _mend_bits(dataset: Dataset, pixel_bytes: int) -> None:
    """Bits that can be; the length of the pixels says how many are allocated where the attribute does not."""
    if dataset.get("BitsAllocated") not in ALLOCATED and pixel_bytes and "Rows" in dataset and "Columns" in dataset:
        samples = max(1, int(dataset.Rows) * int(dataset.Columns) * int(dataset.SamplesPerPixel))
        frames = max(1, int(dataset.get("NumberOfFrames") or 1))
        bits = 8 * (pixel_bytes // (samples * frames))
        if bits in ALLOCATED:
            dataset.BitsAllocated = bits
    allocated = dataset.get("BitsAllocated")
    if allocated not in ALLOCATED:
        return
    high = dataset.get("HighBit", -1)
    stored = dataset.get("BitsStored", 0)
    if not 1 <= stored <= allocated:
        stored = high + 1 if 0 <= high < allocated else allocated
        dataset.BitsStored = stored
    if not stored <= high + 1 <= allocated:
        dataset.HighBit = stored - 1
