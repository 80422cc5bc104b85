"""The items of encapsulated pixel data (PS3.5 A.4): which bytes are the first frame.

Only lengths are followed. A delimiter among compressed bytes therefore does not mislead, and a length that leads out of
the file is noticed before anything is read.
"""

from __future__ import annotations

from struct import Struct

from imaging.dicom.codestream import END_BYTES, JPEG_END
from imaging.errors import ImageError

ITEM = 0xE000FFFE  # the tag's two little-endian halves read as one number
SEQUENCE_DELIMITER = 0xE0DDFFFE

_HEADER = Struct("<II")
_OFFSET = Struct("<I")


def first_frame(value: memoryview, frames: int) -> bytes:
    """The first of `frames` frames in the value of Pixel Data; ImageError where items are cut or damaged."""
    table, *fragments = _items(value)
    if not fragments:
        raise ImageError("no_pixels")
    if frames == 1:
        return b"".join(fragments)
    if len(table) >= 2 * _OFFSET.size:
        return b"".join(_before(fragments, _OFFSET.unpack_from(table, _OFFSET.size)[0]))
    if len(fragments) == frames:
        return bytes(fragments[0])
    return b"".join(_to_end_marker(fragments))


def _items(value: memoryview) -> list[memoryview]:
    """The offset table and the fragments; a missing delimiter after the last is forgiven."""
    items: list[memoryview] = []
    position = 0
    while position + _HEADER.size <= len(value):
        tag, length = _HEADER.unpack_from(value, position)
        position += _HEADER.size
        if tag == SEQUENCE_DELIMITER:
            break
        if tag != ITEM:
            raise ImageError("unreadable_pixels", "The compressed pixels are not divided into items.")
        if position + length > len(value):
            raise ImageError("truncated_dicom")
        items.append(value[position : position + length])
        position += length
    if not items:
        raise ImageError("truncated_dicom")
    return items


def _before(fragments: list[memoryview], second_frame: int) -> list[memoryview]:
    """Fragments whose header lies before the offset, in bytes, at which the second frame starts."""
    chosen: list[memoryview] = []
    position = 0
    for fragment in fragments:
        if position >= second_frame:
            break
        chosen.append(fragment)
        position += _HEADER.size + len(fragment)
    return chosen


def _to_end_marker(fragments: list[memoryview]) -> list[memoryview]:
    for count, fragment in enumerate(fragments, start=1):
        if JPEG_END in bytes(fragment[-END_BYTES:]):
            return fragments[:count]
    return fragments
