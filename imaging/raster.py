"""JPG and PNG radiographs: 8 or 16 bits, grey, colour, palette or with transparency, turned as EXIF says."""

from __future__ import annotations

import warnings
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from imaging.dicom.codestream import expect_few_scans
from imaging.errors import ImageError
from imaging.limits import check_size

JPG_MAGIC = b"\xff\xd8\xff"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
ORIENTATION = 0x0112  # of EXIF
PART = 1 << 20  # bytes
TURNED = range(2, 9)  # orientations that are not upright
LYING = range(5, 9)  # orientations that swap height and width

# Pillow warns below its own limit; check_size refuses earlier and says so in a reject.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def looks_like_raster(head: bytes) -> bool:
    """Whether these first bytes open a JPG or PNG file."""
    return head.startswith((JPG_MAGIC, PNG_MAGIC))


def looks_like_jpg(head: bytes) -> bool:
    """Whether these first bytes open a JPG file."""
    return head.startswith(JPG_MAGIC)


def read_raster(stream: BinaryIO, reduction: int = 1) -> np.ndarray:
    """Decode an open JPG or PNG file to grey levels, 0 to 255, (height, width): uint8, or float32 of a 16-bit image.

    Colour becomes luminance (ITU-R 601), transparency lies on black, and the range of a 16-bit image is
    stretched over the grey levels, as for a DICOM without a window. A JPG may be decoded at a height and width divided
    by a `reduction` of 2, 4 or 8, rounded up.
    """
    try:
        with Image.open(stream, formats=("JPEG", "PNG")) as image:
            check_size(image.height, image.width)
            if image.format == "JPEG":
                _expect_few_scans(stream)
            if reduction > 1:
                image.draft("L", (image.width // reduction, image.height // reduction))
            image.load()
            if _orientation(image) in TURNED:
                ImageOps.exif_transpose(image, in_place=True)
            return _grey(image)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError("image_too_large") from error
    except MemoryError:
        raise ImageError("too_much_memory") from None
    except Exception as error:  # Pillow's plugins raise whatever the damage leads them to
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault
        truncated = "truncated" in str(error)
        raise ImageError("truncated_image" if truncated else "unreadable_pixels") from error


def jpg_size(stream: BinaryIO) -> tuple[int, int]:
    """Height and width of an open JPG as it will be shown; (0, 0) where its header is damaged."""
    try:
        with Image.open(stream, formats=("JPEG",)) as image:
            lies = _orientation(image) in LYING
            return (image.width, image.height) if lies else (image.height, image.width)
    except Exception:  # read_raster will say what is wrong
        return 0, 0


def _expect_few_scans(stream: BinaryIO) -> None:
    position = stream.tell()
    stream.seek(0)
    expect_few_scans(iter(lambda: stream.read(PART), b""))
    stream.seek(position)


def _orientation(image: Image.Image) -> int:
    """As EXIF says; 0 where it says nothing that can be read."""
    try:
        return int(image.getexif().get(ORIENTATION, 0))
    except MemoryError:
        raise
    except Exception:  # Pillow raises whatever the damage leads it to
        return 0


def _grey(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):
        return _stretch(np.asarray(image))
    if "A" in image.mode or "transparency" in image.info:
        opaque = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", opaque.size, "black"), opaque)
    return np.asarray(image if image.mode == "L" else image.convert("L"))


def _stretch(pixels: np.ndarray) -> np.ndarray:
    low, high = int(pixels.min()), int(pixels.max())
    return (pixels.astype(np.float32) - low) * np.float32(255.0 / max(high - low, 1))
