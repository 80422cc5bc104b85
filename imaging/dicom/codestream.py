"""The headers of JPEG, JPEG-LS and JPEG 2000 streams: what a decoder would make of them, before it takes memory."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct, error

from imaging.errors import ImageError

JPEG_2000_START = b"\xff\x4f\xff\x51"  # SOC, then SIZ
JPEG_START = b"\xff\xd8"
JPEG_END = b"\xff\xd9"  # of JPEG-LS and JPEG 2000 too
NO_FRAME_MARKERS = {0xC4, 0xC8, 0xCC}  # tables and extensions among the start-of-frame markers C0 to CF
LOSSLESS_FRAME = 0xC3  # process 14
JPEG_LS_FRAME = 0xF7
END_BYTES = 16  # some writers pad a frame to a multiple of four or eight bytes
BARE_MARKERS = {0x01, *range(0xD0, 0xD8)}  # without a length behind them
JP2_BOXES = 4096  # bytes within which the codestream of a JP2 file starts

_JPEG_SEGMENT = Struct(">BBH")  # FF, marker, length
_JPEG_FRAME = Struct(">BHHB")  # precision, lines, samples per line, components
_SIZ = Struct(">HHIIIIIIIIHB")  # lengths and offsets of image and tiles, components, precision of the first


@dataclass(frozen=True)
class Codestream:
    """Height and width in pixels, samples per pixel, and bits and sign of a sample of a compressed image."""

    height: int
    width: int
    samples: int
    bits: int
    signed: bool = False
    is_lossless_jpeg: bool = False


def describe_jpeg(data: bytes) -> Codestream:
    """Header of a JPEG or JPEG-LS stream; ImageError `unreadable_pixels` where there is none."""
    position = 2 if data.startswith(JPEG_START) else len(data)
    try:
        while True:
            filler, marker, length = _JPEG_SEGMENT.unpack_from(data, position)
            if filler != 0xFF:
                raise _damaged()
            if marker == 0xFF or marker in BARE_MARKERS:
                position += 1 if marker == 0xFF else 2
                continue
            if marker == JPEG_LS_FRAME or (0xC0 <= marker <= 0xCF and marker not in NO_FRAME_MARKERS):
                bits, height, width, samples = _JPEG_FRAME.unpack_from(data, position + 4)
                return Codestream(height, width, samples, bits, is_lossless_jpeg=marker == LOSSLESS_FRAME)
            position += 2 + length
    except error:
        raise _damaged() from None


def describe_jpeg_2000(data: bytes) -> Codestream:
    """Header of a JPEG 2000 or HTJ2K stream, bare or in JP2 boxes; ImageError where there is none."""
    start = data.find(JPEG_2000_START, 0, JP2_BOXES)
    if start < 0:
        raise _damaged()
    try:
        _, _, right, bottom, left, top, _, _, _, _, samples, depth = _SIZ.unpack_from(data, start + 4)
    except error:
        raise _damaged() from None
    return Codestream(bottom - top, right - left, samples, (depth & 0x7F) + 1, signed=depth > 0x7F)


def ends_properly(data: bytes) -> bool:
    """Whether the stream has its end marker, perhaps followed by padding."""
    return JPEG_END in data[-END_BYTES:]


def _damaged() -> ImageError:
    return ImageError("unreadable_pixels", "The compressed pixels have no readable header.")
