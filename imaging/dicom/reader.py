"""DICOM files: header and stored values of the first frame, uncompressed ones straight from the mapped file.

This module parses headers, tells damaged from missing pixels and finds the stored values. `display` turns these into
grey levels.
"""

from __future__ import annotations

import errno
import io
import logging
import mmap
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

import numpy as np
import pydicom.config
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.filereader import read_partial
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from imaging.dicom import codecs
from imaging.dicom.codestream import describe_jpeg_2000
from imaging.dicom.depth import find_depth
from imaging.dicom.display import find_padding
from imaging.dicom.fragments import first_frame
from imaging.dicom.header import bytes_of_a_frame, mend_header
from imaging.errors import ImageError
from imaging.limits import BYTES_PER_WORKER, check_size

PREAMBLE = 128
MAGIC = b"DICM"
FIRST_TAGS = (b"\x02\x00\x00\x00", b"\x08\x00", b"\x00\x08\x00")  # of files written without a preamble
FLOAT_PIXELS = {0x7FE00008: "f4", 0x7FE00009: "f8"}
PIXEL_TAGS = {0x7FE00010, *FLOAT_PIXELS}
UNDEFINED_LENGTH = 0xFFFFFFFF
CUT_SHORT = ("truncated", "requires a buffer", "even multiple of bytes")  # Pillow, zlib; struct; pydicom
META_LENGTH = slice(PREAMBLE + 12, PREAMBLE + 16)  # value of (0002,0000): bytes of the file meta behind it
META_START = PREAMBLE + 16
HEAD_BYTES = 1024  # within which the file meta names its transfer syntax

# Reading from either never takes more memory than there are bytes, whatever length a header announces.
Content = mmap.mmap | io.BytesIO

# pydicom's messages quote attributes and file names, which may identify a patient; ours are ImageErrors.
warnings.filterwarnings("ignore", module=r"pydicom\b")
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


@dataclass(frozen=True)
class StoredFrame:
    """Numbers as they are stored, (rows, columns) or (rows, columns, 3), and where in them the value lies."""

    numbers: np.ndarray
    bits_stored: int
    high_bit: int
    signed: bool

    def unpack(self, numbers: np.ndarray) -> np.ndarray:
        """Cut off the bits outside `bits_stored`, which may hold overlays, and extend the sign; floats pass."""
        allocated = numbers.itemsize * 8
        if numbers.dtype.kind == "f":
            return numbers
        if not 1 <= self.bits_stored <= self.high_bit + 1 <= allocated:
            raise ImageError("unreadable_pixels", "BitsAllocated, BitsStored and HighBit contradict each other.")
        codes = numbers.view(f"u{numbers.itemsize}") << (allocated - 1 - self.high_bit)
        return codes.view(f"{'i' if self.signed else 'u'}{numbers.itemsize}") >> (allocated - self.bits_stored)


@dataclass(frozen=True)
class _PixelElement:
    """Where the value of Pixel Data lies in the stream."""

    tag: int
    vr: str | None
    length: int
    offset: int


def looks_like_dicom(head: bytes) -> bool:
    """Whether these first bytes can open a DICOM file, with or without its preamble."""
    return head[PREAMBLE : PREAMBLE + 4] == MAGIC or head.startswith(FIRST_TAGS)


def read_frame(stream: BinaryIO, reduced_to: int = 0) -> tuple[FileDataset, StoredFrame]:
    """Header (without pixels) and first frame of an open DICOM file, to be read inside `damage_as_image_error`.

    With `reduced_to`, grey JPEG 2000 comes at a lower resolution that suffices for squares of that side.
    """
    content = _inflate(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    dataset, pixels = _parse(content)
    mend_header(dataset, 0 if _syntax(dataset).is_encapsulated else pixels.length)
    value = _pixel_bytes(content, dataset, pixels)
    check_size(int(dataset.Rows), int(dataset.Columns))
    if _syntax(dataset).is_encapsulated:
        return dataset, _compressed_frame(value, dataset, reduced_to)
    return dataset, _native_frame(value, dataset, pixels)


@contextmanager
def damage_as_image_error() -> Iterator[None]:
    """Turn what pydicom, a decoder or damaged attributes raise, whatever that is, into an ImageError."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageError("too_much_memory") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:  # the file cannot be mapped
            raise ImageError("too_much_memory") from None
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault
        raise ImageError(_reason(str(error))) from None


def _reason(message: str) -> str:
    """What a complaint of pydicom or of a decoder comes down to."""
    return "truncated_dicom" if any(words in message for words in CUT_SHORT) else "unreadable_pixels"


def _inflate(mapped: mmap.mmap) -> Content:
    """The file itself, or of a deflated one what says and holds the same uncompressed."""
    deflated = DeflatedExplicitVRLittleEndian.encode()
    if mapped.find(deflated, PREAMBLE, PREAMBLE + HEAD_BYTES) < 0 or mapped[PREAMBLE : PREAMBLE + 4] != MAGIC:
        return mapped
    end = META_START + int.from_bytes(mapped[META_LENGTH], "little")
    meta = mapped[:end].replace(deflated, ExplicitVRLittleEndian.encode().ljust(len(deflated), b"\0"))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    dataset = inflater.decompress(mapped[end:], BYTES_PER_WORKER // 4)
    if inflater.unconsumed_tail:
        raise ImageError("too_much_memory")
    if not inflater.eof:
        raise ImageError("truncated_dicom")
    return io.BytesIO(meta + dataset)


def _parse(content: Content) -> tuple[FileDataset, _PixelElement]:
    """Everything before the pixels, and where they lie; tells a file that was cut from one that never had pixels."""
    found: list[_PixelElement] = []

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        if tag in PIXEL_TAGS:
            found.append(_PixelElement(int(tag), vr, length, content.tell()))
        return bool(found)

    try:
        dataset = read_partial(cast(BinaryIO, content), at_pixels, force=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # bytes that are no DICOM fail in many ways
        content.seek(PREAMBLE + len(MAGIC))
        has_header = content.read(4) == FIRST_TAGS[0]
        raise ImageError(_reason(str(error)) if has_header else "not_an_image") from None
    if not dataset.file_meta and not any(keyword in dataset for keyword in ("SOPClassUID", "Rows")):
        raise ImageError("not_an_image")
    if not found or not found[0].length:
        cut = not found and _ends_early(dataset, _size(content))
        raise ImageError("truncated_dicom" if cut else "no_pixels")
    return dataset, found[0]


def _pixel_bytes(content: Content, dataset: FileDataset, pixels: _PixelElement) -> memoryview:
    """The first frame in the pixel element; of compressed pixels, whose end is among them, all that follows."""
    value = _view(content)[pixels.offset :]
    if _syntax(dataset).is_encapsulated:
        return value
    length = bytes_of_a_frame(dataset)
    if length > min(pixels.length, len(value)):
        raise ImageError("truncated_dicom")
    return value[: length + length % 2]


def _view(content: Content) -> memoryview:
    return content.getbuffer() if isinstance(content, io.BytesIO) else memoryview(content)


def _size(content: Content) -> int:
    return len(_view(content))


def _ends_early(dataset: FileDataset, file_size: int) -> bool:
    """Whether bytes are missing from, or left over after, the last element that could be read."""
    if not len(dataset):
        return True
    last = dataset.get_item(list(dataset.keys())[-1])
    if not isinstance(last, RawDataElement) or last.length == UNDEFINED_LENGTH:
        return False  # it was read up to its delimiter
    return last.value_tell + last.length != file_size


def _syntax(dataset: FileDataset) -> UID:
    return UID(dataset.file_meta.get("TransferSyntaxUID") or ImplicitVRLittleEndian)


def _native_frame(value: memoryview, dataset: FileDataset, pixels: _PixelElement) -> StoredFrame:
    rows, columns, samples = int(dataset.Rows), int(dataset.Columns), _samples(dataset)
    allocated = int(dataset.BitsAllocated)
    endian = "<" if dataset.original_encoding[1] else ">"
    count = rows * columns * samples
    if pixels.tag in FLOAT_PIXELS:
        numbers = np.frombuffer(value, endian + FLOAT_PIXELS[pixels.tag], count)
    elif allocated == 1:
        numbers = np.unpackbits(np.frombuffer(value, np.uint8), count=count, bitorder="little")
    elif allocated == 8 and endian == ">" and pixels.vr == "OW":  # bytes in pairs, the second first
        numbers = np.frombuffer(value, ">u2").astype("<u2").view(np.uint8)[:count]
    elif dataset.PhotometricInterpretation == "YBR_FULL_422":  # Y Y Cb Cr for two pixels
        numbers = np.frombuffer(value, np.uint8, 2 * rows * columns).reshape(-1, 2, 2)[:, 0]
        samples = 1
    elif allocated % 8:
        raise ImageError("unreadable_pixels", "BitsAllocated is no number of whole bytes.")
    else:
        numbers = np.frombuffer(value, f"{endian}u{allocated // 8}", count)
    numbers = numbers.astype(numbers.dtype.newbyteorder("="), copy=False)
    if samples > 1 and int(dataset.get("PlanarConfiguration", 0)) == 1:
        numbers = np.moveaxis(numbers.reshape(samples, rows, columns), 0, -1)
    return _frame(numbers.reshape((rows, columns, samples)[: 3 if samples > 1 else 2]), dataset)


def _compressed_frame(value: memoryview, dataset: FileDataset, reduced_to: int) -> StoredFrame:
    syntax = _syntax(dataset)
    if syntax not in codecs.SUPPORTED:
        raise ImageError("unsupported_transfer_syntax")
    data = first_frame(value, int(dataset.get("NumberOfFrames") or 1))
    layout = codecs.Layout(
        int(dataset.Rows),
        int(dataset.Columns),
        _samples(dataset),
        int(dataset.BitsAllocated) // 8,
        str(dataset.PhotometricInterpretation),
    )
    numbers = codecs.decode(data, syntax, layout, reduced_to)
    is_jpeg_2000 = syntax in codecs.JPEG_2000 | codecs.HTJ2K
    return _frame(numbers, dataset, describe_jpeg_2000(data).bits if is_jpeg_2000 else 0)


def _samples(dataset: FileDataset) -> int:
    samples = int(dataset.get("SamplesPerPixel") or 1)
    if samples not in (1, 3):
        raise ImageError("unreadable_pixels", "SamplesPerPixel is neither 1 nor 3.")
    return samples


def _frame(numbers: np.ndarray, dataset: FileDataset, coded_bits: int = 0) -> StoredFrame:
    """Where the values lie. JPEG 2000 is coded with a depth of its own, which is the better one where they differ:
    only a sign may have to be found at a lower bit."""
    signed = int(dataset.get("PixelRepresentation", 0)) == 1
    stored = int(dataset.get("BitsStored") or numbers.itemsize * 8)
    if coded_bits:
        stored = min(stored, coded_bits) if signed else coded_bits
        return StoredFrame(numbers, stored, stored - 1, signed)
    depth = find_depth(numbers, stored, int(dataset.get("HighBit", stored - 1)), signed, find_padding(dataset))
    return StoredFrame(numbers, *depth, signed)
