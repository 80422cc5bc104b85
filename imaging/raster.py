"""JPG and PNG radiographs: 8 or 16 bits, grey, colour, palette or with transparency, turned as EXIF says."""

from __future__ import annotations

import warnings
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from imaging.errors import ImageError
from imaging.limits import check_size

JPG_MAGIC = b"\xff\xd8\xff"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"

# Pillow warns below its own limit; check_size refuses earlier and says so in a reject.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def looks_like_raster(head: bytes) -> bool:
    """Whether these first bytes open a JPG or PNG file."""
    return head.startswith((JPG_MAGIC, PNG_MAGIC))


def read_raster(stream: BinaryIO) -> np.ndarray:
    """Decode an open JPG or PNG file to (height, width) uint8.

    Colour becomes luminance (ITU-R 601), transparency lies on black, and the range of a 16-bit image is
    stretched over the 8 bits, as for a DICOM without a window.
    """
    try:
        with Image.open(stream, formats=("JPEG", "PNG")) as image:
            check_size(image.height, image.width)
            ImageOps.exif_transpose(image, in_place=True)
            return _grey(image)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError("image_too_large") from error
    except Exception as error:  # Pillow's plugins raise whatever the damage leads them to
        truncated = "truncated" in str(error)
        raise ImageError("truncated_image" if truncated else "unreadable_pixels") from error


def _grey(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):
        return _stretch(np.asarray(image))
    if "A" in image.mode or "transparency" in image.info:
        opaque = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", opaque.size, "black"), opaque)
    return np.array(image if image.mode == "L" else image.convert("L"))


def _stretch(pixels: np.ndarray) -> np.ndarray:
    low, high = int(pixels.min()), int(pixels.max())
    scaled = (pixels.astype(np.float32) - low) * (255.0 / max(high - low, 1))
    return (scaled + 0.5).astype(np.uint8)
