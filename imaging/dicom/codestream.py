"""The headers of JPEG, JPEG-LS and JPEG 2000 streams: what a decoder would make of them, before it takes memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from struct import Struct, error

from imaging.errors import ImageError

JPEG_2000_START = b"\xff\x4f\xff\x51"  # SOC, then SIZ, which comes first
JPEG_START = b"\xff\xd8"
JPEG_END = b"\xff\xd9"  # of JPEG-LS and JPEG 2000 too
NO_FRAME_MARKERS = {0xC4, 0xC8, 0xCC}  # tables and extensions among the start-of-frame markers C0 to CF
LOSSLESS_FRAME = 0xC3  # process 14
JPEG_LS_FRAME = 0xF7
END_BYTES = 16  # some writers pad a frame to a multiple of four or eight bytes
BARE_MARKERS = {0x01, *range(0xD0, 0xD8)}  # without a length behind them
JP2_START = b"\0\0\0\x0cjP  \r\n\x87\n"
JP2_CODESTREAM = b"jp2c"
TINY_TILE = 32 * 32  # pixels; a decoder keeps kilobytes of each tile
FEW_TILES = 1024  # may be tiny
MOST_SCANS = 100  # of a progressive JPEG, which has about ten; each goes over the whole image
SCAN = b"\xff\xda"  # never occurs in compressed data

_JPEG_SEGMENT = Struct(">BBH")  # FF, marker, length
_JPEG_FRAME = Struct(">BHHB")  # precision, lines, samples per line, components
_SIZ = Struct(">HH8IH")  # length, profile, ends and offsets of the image, size and offsets of its tiles, components
_COMPONENT = Struct(">BBB")  # precision and sign, distances of its samples across and down
_BOX = Struct(">I4s")  # length with this header, kind


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
    """Header of a JPEG 2000 or HTJ2K stream, bare or in JP2 boxes; ImageError where there is none, or where the image
    is divided into what no encoder of radiographs makes."""
    start = _find_codestream(data)
    if data[start : start + len(JPEG_2000_START)] != JPEG_2000_START:
        raise _damaged()
    start += len(JPEG_2000_START)
    try:
        length, _, right, bottom, left, top, *tiles, samples = _SIZ.unpack_from(data, start)
        components = list(_COMPONENT.iter_unpack(data[start + _SIZ.size : start + length]))
    except error:
        raise _damaged() from None
    if not components or len(components) != samples or len(set(components)) > 1 or components[0][1:] != (1, 1):
        raise ImageError("unreadable_pixels", "The samples of the JPEG 2000 stream differ in depth or resolution.")
    stream = Codestream(bottom - top, right - left, samples, (components[0][0] & 0x7F) + 1, components[0][0] > 0x7F)
    _expect_sane_tiles(stream, (right, bottom), (left, top), tiles)
    return stream


def expect_few_scans(parts: Iterable[bytes]) -> None:
    """ImageError where a JPEG, in parts of any size, has so many scans that decoding it takes minutes."""
    if sum(part.count(SCAN) for part in parts) > MOST_SCANS:
        raise ImageError("unreadable_pixels", "The JPEG is divided into more scans than any radiograph.")


def ends_properly(data: bytes) -> bool:
    """Whether the stream has its end marker, perhaps followed by padding."""
    return JPEG_END in data[-END_BYTES:]


def _find_codestream(data: bytes) -> int:
    """Where the codestream starts; in a JP2 file by the lengths of its boxes."""
    position = 0
    if not data.startswith(JP2_START):
        return position
    while position + _BOX.size <= len(data):
        length, kind = _BOX.unpack_from(data, position)
        if kind == JP2_CODESTREAM:
            return position + (2 * _BOX.size if length == 1 else _BOX.size)  # 1: the length is in 8 more bytes
        if length < _BOX.size:
            break
        position += length
    return len(data)


def _expect_sane_tiles(
    stream: Codestream, ends: tuple[int, int], starts: tuple[int, int], tiles: Sequence[int]
) -> None:
    """`tiles` has the width and height of a tile, and where the first starts: at most one tile before the image."""
    sizes, offsets = tiles[:2], tiles[2:]
    if not all(offset <= start < offset + size for start, size, offset in zip(starts, sizes, offsets, strict=True)):
        raise _damaged()
    count = prod(-(-(end - offset) // size) for end, size, offset in zip(ends, sizes, offsets, strict=True))
    if count > max(FEW_TILES, stream.height * stream.width // TINY_TILE):
        raise ImageError("unreadable_pixels", "The JPEG 2000 stream is divided into more tiles than any radiograph.")


def _damaged() -> ImageError:
    return ImageError("unreadable_pixels", "The compressed pixels have no readable header.")
