"""Images as a caller gives them, turned into the squares that a network was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from imaging.decode import DecodedImage, SquareOptions
from imaging.errors import ImageError
from imaging.letterbox import Frame, letterbox
from imaging.pool import DecoderPool, usable_cores
from radalign.errors import RadalignError

Image: TypeAlias = "str | PathLike[str] | np.ndarray"
NO_IMAGE = "There is no image: give a path, an array, or a list of either."
FILM = 1024  # pixels; inputs of released networks have at most 512
Images: TypeAlias = "Image | Sequence[Image]"


def read_images(images: Images, size: int, decoding: Mapping[str, Any] | None = None) -> np.ndarray:
    """(n, size, size) uint8 squares of one image or of several: paths (DICOM, JPG, PNG) or grey arrays.

    A file is decoded and brought into its square by the code that prepares the shards. An array has grey levels 0..255
    and the shape (height, width); an array (n, height, width) is n images. `decoding` are further fields of
    `imaging.decode.SquareOptions`, of which arrays follow `squash` alone.
    """
    listed = _as_list(images)
    if not listed:
        raise RadalignError(NO_IMAGE)
    options = SquareOptions(size, **(decoding or {}))
    files = [Path(image) for image in listed if not isinstance(image, np.ndarray)]
    decoded = iter(_decode(files, options))
    return np.stack(
        [_square(image, options) if isinstance(image, np.ndarray) else next(decoded).pixels for image in listed]
    )


def read_films(images: Images) -> list[np.ndarray]:
    """(height, width) uint8 of each image, in its own proportions, for networks that bring films to their input.

    A file whose longer side has more than FILM pixels is shrunk to it. An array is taken as it is.
    """
    listed = _as_list(images)
    if not listed:
        raise RadalignError(NO_IMAGE)
    return [_grey(image) if isinstance(image, np.ndarray) else _film(Path(image)) for image in listed]


def film_in(square: DecodedImage, size: int, decode: Callable[[SquareOptions], DecodedImage]) -> np.ndarray:
    """(height, width) uint8: the film in a square of `size` pixels; `decode` reads a smaller one again as it is."""
    longer = max(square.height, square.width)
    if longer < size:  # the square of its own size holds the film as it is
        square = decode(SquareOptions(longer))
    return Frame.fit(square.height, square.width, min(longer, size)).cut(square.pixels).copy()


def _film(path: Path) -> np.ndarray:
    def decode(options: SquareOptions) -> DecodedImage:
        return _decode([path], options)[0]

    return film_in(decode(SquareOptions(FILM)), FILM, decode)


def _as_list(images: Images) -> list[Image]:
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 3 else [images]
    return [images] if isinstance(images, str | PathLike) else list(images)


def _decode(files: Sequence[Path], options: SquareOptions) -> list[DecodedImage]:
    if not files:
        return []
    with DecoderPool(min(usable_cores(), len(files))) as pool, ThreadPoolExecutor(pool.workers) as threads:
        found = list(threads.map(lambda path: pool.decode(path, options), files))
    for path, image in zip(files, found, strict=True):
        if isinstance(image, ImageError):
            raise RadalignError(f"The image {path} cannot be read ({image.reason}): {image.detail or image}")
    return [image for image in found if not isinstance(image, ImageError)]


def _square(image: np.ndarray, options: SquareOptions) -> np.ndarray:
    grey = _grey(image)
    return grey if grey.shape == (options.size, options.size) else letterbox(grey, options.size, options.squash)


def _grey(image: np.ndarray) -> np.ndarray:
    if image.ndim != 2 or not image.size:
        raise RadalignError(f"An image is an array (height, width) of grey levels, not one of shape {image.shape}.")
    if image.dtype != np.uint8:
        if not np.isfinite(image).all() or image.min() < 0 or image.max() > 255:
            raise RadalignError("An image holds grey levels 0..255; scale the array first, or give the file's path.")
        image = np.rint(image).astype(np.uint8)
    return image
