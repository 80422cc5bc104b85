"""DICOM radiographs as they are displayed: stored values -> Modality LUT -> VOI LUT or window -> 8-bit grey.

This file parses, tells damage from absence and gets at the stored values; `display` shows them.
"""

from __future__ import annotations

import logging
import os
import warnings
from functools import partial
from typing import BinaryIO

import numpy as np
import pydicom
import pydicom.config
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.pixels import get_decoder, pixel_array
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import UID, ImplicitVRLittleEndian

from imaging.display import Unpack, show_colour, show_grey
from imaging.errors import ImageError
from imaging.limits import check_size

PREAMBLE = 128
MAGIC = b"DICM"
FIRST_TAGS = (b"\x02\x00\x00\x00", b"\x08\x00", b"\x00\x08\x00")  # of files written without a preamble
PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
CUT_SHORT = ("truncated", "requires a buffer", "even multiple of bytes")  # zlib, Pillow; struct; pydicom
UNDEFINED_LENGTH = 0xFFFFFFFF

# pydicom's messages quote attributes and file names, which may identify a patient; ours are ImageErrors.
warnings.filterwarnings("ignore", module=r"pydicom\b")
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


def looks_like_dicom(head: bytes) -> bool:
    """Whether these first bytes can open a DICOM file, with or without its preamble."""
    return head[PREAMBLE : PREAMBLE + 4] == MAGIC or head.startswith(FIRST_TAGS)


def read_dicom(stream: BinaryIO) -> np.ndarray:
    """Decode the first frame of an open DICOM file to (height, width) uint8.

    MONOCHROME1 is inverted, padding is black, colour becomes luminance, the first of several windows counts,
    and without a window the range of the pixels is stretched over the 8 bits.
    """
    dataset = _parse(stream)
    try:
        _check_whole(dataset, file_size=stream.seek(0, os.SEEK_END))
        check_size(int(dataset.Rows), int(dataset.Columns))
        _check_decodable(dataset)
        if _is_colour(dataset):
            return show_colour(pixel_array(dataset, index=0), dataset)
        return show_grey(*_first_frame(dataset), dataset)
    except ImageError:
        raise
    except Exception as error:  # pydicom and its decoders raise whatever the damage leads them to
        raise ImageError(_reason(str(error))) from None


def _reason(message: str) -> str:
    """What a complaint of pydicom or of a decoder comes down to."""
    if any(words in message for words in CUT_SHORT):
        return "truncated_dicom"
    return "unsupported_transfer_syntax" if "does not support" in message else "unreadable_pixels"


def _parse(stream: BinaryIO) -> FileDataset:
    try:
        dataset = pydicom.dcmread(stream, force=True)
    except OSError:
        raise
    except Exception as error:  # bytes that are no DICOM fail in many ways
        stream.seek(PREAMBLE + len(MAGIC))
        has_header = stream.read(4) == FIRST_TAGS[0]
        raise ImageError(_reason(str(error)) if has_header else "not_an_image") from None
    if not dataset.file_meta and not any(keyword in dataset for keyword in ("SOPClassUID", "Rows")):
        raise ImageError("not_an_image")
    return dataset


def _check_whole(dataset: FileDataset, file_size: int) -> None:
    """Tell a file that was cut from one that never had pixels."""
    pixels = next((dataset.get_item(keyword).value for keyword in PIXEL_KEYWORDS if keyword in dataset), None)
    if not pixels:
        raise ImageError("truncated_dicom" if _ends_early(dataset, file_size) else "no_pixels")
    if not _syntax(dataset).is_encapsulated and len(pixels) < get_expected_length(dataset):
        raise ImageError("truncated_dicom")


def _ends_early(dataset: FileDataset, file_size: int) -> bool:
    """Whether bytes are missing from, or left over after, the last element that could be read."""
    if not len(dataset):
        return True
    last = dataset.get_item(list(dataset.keys())[-1])
    if not isinstance(last, RawDataElement) or _syntax(dataset).is_deflated:
        return False  # positions in the file are not known
    if last.length == UNDEFINED_LENGTH:
        return False  # it was read up to its delimiter
    return last.value_tell + last.length != file_size


def _syntax(dataset: FileDataset) -> UID:
    return UID(dataset.file_meta.get("TransferSyntaxUID") or ImplicitVRLittleEndian)


def _check_decodable(dataset: FileDataset) -> None:
    syntax = _syntax(dataset)
    if not syntax.is_encapsulated:
        return
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise ImageError("unsupported_transfer_syntax")


def _is_colour(dataset: FileDataset) -> bool:
    return int(dataset.get("SamplesPerPixel", 1)) > 1 or dataset.PhotometricInterpretation == "PALETTE COLOR"


def _first_frame(dataset: FileDataset) -> tuple[np.ndarray, Unpack]:
    """Pixels of the first frame, if uncompressed straight from the bytes of the file, and their meaning."""
    rows, columns, allocated = int(dataset.Rows), int(dataset.Columns), int(dataset.BitsAllocated)
    little_endian = dataset.original_encoding[1]
    plain = "PixelData" in dataset and not _syntax(dataset).is_encapsulated and little_endian
    if not plain or allocated not in (8, 16):
        frame = pixel_array(dataset, index=0)
        frame = frame.astype(frame.dtype.newbyteorder("="), copy=False)
        return frame, lambda codes: codes.view(frame.dtype)
    frame = np.frombuffer(dataset.PixelData, dtype=f"<u{allocated // 8}", count=rows * columns)
    return frame.reshape(rows, columns), partial(_without_unused_bits, dataset)


def _without_unused_bits(dataset: FileDataset, codes: np.ndarray) -> np.ndarray:
    """Cut off the bits outside BitsStored, which may hold overlays, and extend the sign."""
    allocated = codes.itemsize * 8
    stored = int(dataset.get("BitsStored", allocated))
    high_bit = int(dataset.get("HighBit", stored - 1))
    if not 1 <= stored <= high_bit + 1 <= allocated:
        raise ImageError("unreadable_pixels", "BitsAllocated, BitsStored and HighBit contradict each other.")
    signed = int(dataset.get("PixelRepresentation", 0)) == 1
    kind = "i" if signed else "u"
    return (codes << (allocated - 1 - high_bit)).view(f"{kind}{codes.itemsize}") >> (allocated - stored)
