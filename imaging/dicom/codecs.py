"""Compressed DICOM frames to stored values, by libjpeg-turbo, CharLS, OpenJPEG and OpenJPH (imagecodecs).

The header of the stream is compared with that of the dataset before a decoder sees it: a stream that announces
another size than Rows and Columns is damaged or a decompression bomb.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import imagecodecs
import numpy as np
from PIL import Image
from pydicom import uid

from imaging.dicom.codestream import (
    Codestream,
    describe_jpeg,
    describe_jpeg_2000,
    ends_properly,
    expect_few_scans,
)
from imaging.errors import ImageError

JPEG = {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1}
JPEG_LS = {uid.JPEGLSLossless, uid.JPEGLSNearLossless}
JPEG_2000 = {uid.JPEG2000Lossless, uid.JPEG2000}
HTJ2K = {uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K}
SUPPORTED = JPEG | JPEG_LS | JPEG_2000 | HTJ2K | {uid.RLELossless}
REDUCED_SIDE = 2  # a reduced image keeps this many pixels for one of the square
DEEPEST_REDUCED = 16  # bits that Pillow keeps


@dataclass(frozen=True)
class Layout:
    """What the dataset says of a frame."""

    rows: int
    columns: int
    samples: int
    bytes_per_sample: int
    photometric: str


def decode(data: bytes, syntax: str, layout: Layout, reduced_to: int = 0) -> np.ndarray:
    """Stored values of a frame, (rows, columns) or (rows, columns, 3), not yet cut to BitsStored.

    JPEG 2000 comes as RGB where its photometric interpretation is YBR_ICT or YBR_RCT, lossy JPEG as only the
    luminance where it is YBR_FULL or YBR_FULL_422. With `reduced_to`, grey JPEG 2000 comes at the lowest resolution
    whose longer side has at least twice as many pixels; its grey levels differ from those of the full one (see
    benchmarks/ingest.py). Raises ImageError, and whatever a decoder raises.
    """
    if syntax == uid.RLELossless:
        return _decode_rle(data, layout)
    stream = (describe_jpeg_2000 if syntax in JPEG_2000 | HTJ2K else describe_jpeg)(data)
    if (stream.height, stream.width, stream.samples) != (layout.rows, layout.columns, layout.samples):
        raise _other_size()
    if stream.bits > 8 * layout.bytes_per_sample:
        raise ImageError("unreadable_pixels", "The compressed pixels have more bits than the header allocates.")
    if not ends_properly(data):
        raise ImageError("truncated_dicom")
    if syntax in JPEG_2000 | HTJ2K and reduced_to:
        reduced = _decode_reduced(data, stream, reduced_to)
        if reduced is not None:
            return reduced
    numbers = _decode_stream(data, syntax, layout, stream)
    if numbers.shape[:2] != (layout.rows, layout.columns):  # the decoder found another header
        raise _other_size()
    return numbers


def _decode_stream(data: bytes, syntax: str, layout: Layout, stream: Codestream) -> np.ndarray:
    if syntax in JPEG:
        expect_few_scans([data])
        return _decode_jpeg(data, layout, stream.is_lossless_jpeg)
    if syntax in JPEG_LS:
        return imagecodecs.jpegls_decode(data)
    return imagecodecs.htj2k_decode(data) if syntax in HTJ2K else imagecodecs.jpeg2k_decode(data)


def _decode_reduced(data: bytes, stream: Codestream, size: int) -> np.ndarray | None:
    """A grey JPEG 2000 frame at a lower resolution; None where that is the full one, or the stream has no other."""
    steps = int(np.log2(max(1.0, max(stream.height, stream.width) / (REDUCED_SIDE * size))))
    if stream.samples > 1 or stream.bits > DEEPEST_REDUCED or steps < 1:
        return None
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG2000",)) as image:
            image.reduce = steps  # type: ignore[method-assign, assignment] # of this plug-in a property
            shifted = np.asarray(image)
    except OSError:  # it was coded in fewer steps, or is damaged, which the full one will show
        return None
    if shifted.shape != tuple(-(-length >> steps) for length in (stream.height, stream.width)):
        return None
    numbers = shifted >> (8 * shifted.itemsize - stream.bits)  # Pillow fills its 8 or 16 bits from the top
    return numbers ^ (1 << (stream.bits - 1)) if stream.signed else numbers  # and makes signed numbers positive


def _decode_jpeg(data: bytes, layout: Layout, lossless: bool) -> np.ndarray:
    if layout.samples == 1:
        return imagecodecs.jpeg8_decode(data)
    if layout.photometric.startswith("YBR") and not lossless:
        return imagecodecs.jpeg8_decode(data, colorspace="YCBCR", outcolorspace="GRAYSCALE")
    return imagecodecs.jpeg8_decode(data, colorspace="RGB", outcolorspace="RGB")  # whatever its markers say


def _decode_rle(data: bytes, layout: Layout) -> np.ndarray:
    dtype = np.dtype(f"<u{layout.bytes_per_sample}")
    planes = np.empty((layout.samples, layout.rows, layout.columns), dtype)
    decoded = imagecodecs.dicomrle_decode(data, dtype, out=planes.data.cast("B"))
    if len(decoded) != planes.nbytes:
        raise ImageError("truncated_dicom")
    return np.moveaxis(planes, 0, -1) if layout.samples > 1 else planes[0]


def _other_size() -> ImageError:
    return ImageError("unreadable_pixels", "The compressed pixels have another size than the header says.")
