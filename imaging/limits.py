"""Limits on the pixels, memory and time of one file. A radiograph stays far below them."""

from __future__ import annotations

from imaging.errors import ImageError

MAXIMUM_PIXELS = 80_000_000  # the largest chest and mammography detectors have below 30 million
# Of processor time, so that a busy or paused machine takes nothing away. Lossless JPEG 2000 is the slowest: 30 million
# pixels take 4.2 s, and 9.7 s if they are 16 bits of pure noise.
CPU_SECONDS_PER_FILE = 60.0
# A decoder that has not answered by then sleeps for ever. It is the machine that failed.
SECONDS_TO_ANSWER = 900.0
BYTES_PER_WORKER = 1 << 30  # of address space, libraries and the mapped file included


def check_size(height: int, width: int) -> None:
    """Raise ImageError before memory is taken for an image without pixels or with too many."""
    if height < 1 or width < 1:
        raise ImageError("unreadable_pixels", "The header gives the image no rows or no columns.")
    if height * width > MAXIMUM_PIXELS:
        raise ImageError("image_too_large")
