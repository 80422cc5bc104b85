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

from imaging.dicom.codestream import describe_jpeg, describe_jpeg_2000, ends_properly
from imaging.errors import ImageError

JPEG = {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1}
JPEG_LS = {uid.JPEGLSLossless, uid.JPEGLSNearLossless}
JPEG_2000 = {uid.JPEG2000Lossless, uid.JPEG2000}
HTJ2K = {uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K}
SUPPORTED = JPEG | JPEG_LS | JPEG_2000 | HTJ2K | {uid.RLELossless}
REDUCED_SIDE = 2  # a reduced image keeps this many pixels for one of the square


@dataclass(frozen=True)
class Layout:
    """What the dataset says of a frame."""

    rows: int
    columns: int
    samples: int
    bytes_per_sample: int
    photometric: str


def decode(data: bytes, syntax: str, layout: Layout) -> np.ndarray:
    """Stored values of a frame, (rows, columns) or (rows, columns, 3), not yet cut to BitsStored.

    JPEG 2000 comes as RGB where its photometric interpretation is YBR_ICT or YBR_RCT, lossy JPEG as only the
    luminance where it is YBR_FULL or YBR_FULL_422. Raises ImageError, and whatever a decoder raises.
    """
    if syntax == uid.RLELossless:
        return _decode_rle(data, layout)
    stream = (describe_jpeg_2000 if syntax in JPEG_2000 | HTJ2K else describe_jpeg)(data)
    if (stream.height, stream.width, stream.samples) != (layout.rows, layout.columns, layout.samples):
        raise ImageError("unreadable_pixels", "The compressed pixels have another size than the header says.")
    if not ends_properly(data):
        raise ImageError("truncated_dicom")
    if syntax in JPEG:
        return _decode_jpeg(data, layout, stream.is_lossless_jpeg)
    if syntax in JPEG_LS:
        return imagecodecs.jpegls_decode(data)
    return imagecodecs.htj2k_decode(data) if syntax in HTJ2K else imagecodecs.jpeg2k_decode(data)


def decode_reduced(data: bytes, layout: Layout, size: int) -> np.ndarray | None:
    """A grey JPEG 2000 frame at the lowest resolution whose longer side has at least twice `size` pixels.

    None where that is the full one. Grey levels differ from those of the full one (see benchmarks/ingest.py).
    """
    stream = describe_jpeg_2000(data)
    steps = int(np.log2(max(1.0, max(stream.height, stream.width) / (REDUCED_SIDE * size))))
    if layout.samples > 1 or steps < 1:
        return None
    with Image.open(io.BytesIO(data), formats=("JPEG2000",)) as image:
        image.reduce = steps  # type: ignore[method-assign, assignment] # of this plug-in a property
        shifted = np.asarray(image)
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
