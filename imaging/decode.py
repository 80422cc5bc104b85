"""Reads every kind of image file. The content of a file decides how it is read, not its name.

The functions here decode in the calling process. `imaging.pool` decodes in other processes.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from pydicom.dataset import Dataset

from imaging.borders import remove_borders
from imaging.dicom.attributes import ImageHeader, attributes
from imaging.dicom.contrast import FEWEST, Display, choose_display, sample, spread, stretch
from imaging.dicom.reader import StoredFrame, damage_as_image_error, looks_like_dicom, read_frame
from imaging.dicom.render import find_display, render_averages, render_full_size, round_levels
from imaging.errors import ImageError, MachineError
from imaging.letterbox import Frame, letterbox, letterbox_mask
from imaging.raster import jpg_size, looks_like_jpg, looks_like_raster, read_raster
from imaging.scaled_jpg import shrink_jpg
from imaging.shrink import shrink
from store.regular_files import NotRegularError, open_regular

HEAD_BYTES = 140  # a DICOM preamble, its magic word and the first tag behind it
# What is wrong with the file itself when the system refuses it. Anything else is an outage: a disk, a network, memory.
REFUSALS = {
    errno.ENOENT: "missing_file",
    errno.ENOTDIR: "missing_file",
    errno.EACCES: "unreadable_file",
    errno.EPERM: "unreadable_file",
    errno.EISDIR: "unreadable_file",
    errno.ELOOP: "unreadable_file",
    errno.ENAMETOOLONG: "unreadable_file",
    errno.EINVAL: "unreadable_pixels",  # an offset in the file leads before its start
}

Result = TypeVar("Result")


@dataclass(frozen=True)
class SquareOptions:
    """The square that an image is scaled into."""

    size: int  # side of the square, pixels
    crop_borders: bool = False  # cut off constant borders first; boxes and masks are not moved
    reduced_jpeg_2000: bool = False  # decode JPEG 2000 at a lower resolution: many times faster, but not exact
    squash: bool = False  # stretch the image to the square; else its proportions stay, and black is added

    def frame(self, height: int, width: int) -> Frame:
        """Where an image of this height and width lies in the square."""
        return Frame.fit(height, width, self.size, self.squash)


@dataclass(frozen=True)
class MaskOptions:
    """How a mask is made of an image: what is brighter than the threshold, in the square that the radiograph fills."""

    size: int  # side of the square, pixels
    threshold: int = 0  # grey level
    height: int = 0  # of the radiograph, pixels; 0: not known, so that a mask of any shape is read
    width: int = 0
    squash: bool = False  # as the radiograph was


@dataclass(frozen=True)
class DecodedImage:
    """A square image (size, size) uint8, its original height and width, and what is kept of its header."""

    pixels: np.ndarray
    height: int
    width: int
    header: ImageHeader = field(default_factory=ImageHeader)
    display_fallback: str = ""  # what is shown as black to white where the file describes nearly one grey


def read_grey(path: Path) -> np.ndarray:
    """Read a DICOM, JPG or PNG radiograph as (height, width) uint8, dark to bright as it is displayed.

    Of several frames the first is read. What would be nearly one grey is shown over the range of its pixels. Raises
    ImageError, whose `reason` is one of `imaging.errors.REASONS`, and MachineError where a disk or a network fails.
    """
    return _read(path, partial(_grey, as_described=False))


def read_square(path: Path, options: SquareOptions) -> DecodedImage:
    """Read a radiograph as a square, within one grey level of `letterbox(read_grey(path), size, squash)`.

    Raises ImageError as `read_grey` does. `reduced_jpeg_2000` gives up the bound on the error.
    """
    return _read(path, lambda stream, head: _squares(stream, head, [options]))[0]


def read_film(path: Path, options: SquareOptions) -> DecodedImage:
    """Read a radiograph that shows something, as `read_square` does; ImageError `constant_image` for any other."""
    return read_films(path, [options])[0]


def read_films(path: Path, several: Sequence[SquareOptions]) -> list[DecodedImage]:
    """Several squares of one radiograph, each as `read_film` gives it; the pixels of a DICOM are decoded once."""
    images = _read(path, lambda stream, head: _squares(stream, head, several))
    for image, options in zip(images, several, strict=True):
        frame = options.frame(image.height, image.width)
        if spread(frame.cut(image.pixels)) < FEWEST:
            raise ImageError("constant_image")
    return images


def read_mask(path: Path, options: MaskOptions) -> np.ndarray:
    """Read a mask as (size, size) bool, letterboxed or squashed.

    Raises as `read_grey` does, and ImageError where the mask would not lie on its radiograph.
    """
    grey = _read(path, partial(_grey, as_described=True))
    height, width = grey.shape
    if options.height and not _fits(height, width, options):
        found, wanted = f"{height} x {width}", f"{options.height} x {options.width}"
        raise ImageError("unreadable_pixels", f"The mask has {found} pixels and its image {wanted}, of another shape.")
    return letterbox_mask(grey > options.threshold, options.size, options.squash)


def _fits(height: int, width: int, options: MaskOptions) -> bool:
    """Whether an image of this size has the proportions of the radiograph, to within a pixel of a letterbox."""
    one, other = Frame.fit(height, width, options.size), Frame.fit(options.height, options.width, options.size)
    return abs(one.height - other.height) <= 1 and abs(one.width - other.width) <= 1


def _read(path: Path, read: Callable[[BinaryIO, bytes], Result]) -> Result:
    try:
        with open_regular(path) as stream:
            head = stream.read(HEAD_BYTES)
            stream.seek(0)
            if not looks_like_raster(head) and not looks_like_dicom(head):
                raise ImageError("not_an_image", "" if head else "The file is empty.")
            return read(stream, head)
    except NotRegularError:
        raise ImageError("missing_file") from None
    except OSError as error:
        reason = REFUSALS.get(error.errno or errno.EINVAL)
        if reason is None:
            raise MachineError(
                f"{path} could not be read ({error.strerror}): check the disk or the network, then run the same "
                "command again; it goes on."
            ) from error
        raise ImageError(reason) from None


def _grey(stream: BinaryIO, head: bytes, as_described: bool) -> np.ndarray:
    if looks_like_raster(head):
        grey = read_raster(stream)
        return _show(grey, Display.DESCRIBED if as_described else _find_display(grey, _is_deep(grey)))
    with damage_as_image_error():
        dataset, stored = read_frame(stream)
        display = Display.DESCRIBED if as_described else find_display(stored, dataset)
        return render_full_size(stored, dataset, display)


def _squares(stream: BinaryIO, head: bytes, several: Sequence[SquareOptions]) -> list[DecodedImage]:
    if looks_like_raster(head):
        return [_raster_square(stream, head, options) for options in several]
    with damage_as_image_error():
        reductions = {options: options.size if options.reduced_jpeg_2000 else 0 for options in several}
        frames = {reduction: read_frame(stream, reduction) for reduction in dict.fromkeys(reductions.values())}
        return [_dicom_square(*frames[reductions[options]], options) for options in several]


def _dicom_square(dataset: Dataset, stored: StoredFrame, options: SquareOptions) -> DecodedImage:
    height, width = int(dataset.Rows), int(dataset.Columns)
    display = find_display(stored, dataset)
    frame = options.frame(height, width)
    if options.crop_borders or frame.enlarges(height, width):
        pixels = _fit(render_full_size(stored, dataset, display), options)
    else:
        pixels = frame.place(render_averages(stored, dataset, frame.height, frame.width, display), options.size)
    return DecodedImage(pixels, height, width, attributes(dataset), display.value)


def _raster_square(stream: BinaryIO, head: bytes, options: SquareOptions) -> DecodedImage:
    stream.seek(0)
    image = _scaled_jpg(stream, options) if looks_like_jpg(head) and not options.crop_borders else None
    if image:
        return image
    stream.seek(0)
    grey = read_raster(stream)
    height, width = grey.shape
    display = _find_display(grey, _is_deep(grey))
    return DecodedImage(_fit(_show(grey, display), options), height, width, display_fallback=display.value)


def _show(grey: np.ndarray, display: Display) -> np.ndarray:
    levels = stretch(grey, grey, display)
    return levels if levels.dtype == np.uint8 else round_levels(levels)


def _find_display(grey: np.ndarray, is_deep: bool) -> Display:
    """How the levels of a JPG or PNG show something. What 8 bits hold as one grey but for noise is not stretched."""
    levels = sample(grey)
    is_constant = not is_deep and spread(levels) < FEWEST
    return Display.DESCRIBED if is_constant else choose_display(partial(stretch, levels, grey), levels)


def _is_deep(grey: np.ndarray) -> bool:
    """Whether these levels of a whole file come from 16 bits."""
    return grey.dtype != np.uint8


def _scaled_jpg(stream: BinaryIO, options: SquareOptions) -> DecodedImage | None:
    full = jpg_size(stream)
    frame = options.frame(*full)
    if frame.enlarges(*full):
        return None
    stream.seek(0)
    means = shrink_jpg(stream, full, frame.height, frame.width)
    if means is None:
        return None
    display = _find_display(means, is_deep=False)
    pixels = frame.place(round_levels(stretch(means, means, display)), options.size)
    return DecodedImage(pixels, *full, display_fallback=display.value)


def _fit(grey: np.ndarray, options: SquareOptions) -> np.ndarray:
    if options.crop_borders:
        grey = remove_borders(grey)
    height, width = grey.shape
    frame = options.frame(height, width)
    if frame.enlarges(height, width):
        return letterbox(grey, options.size, options.squash)
    return frame.place(round_levels(shrink(grey, frame.height, frame.width)), options.size)
