"""Fit an image, a mask or a box into a square.

Letterboxed, the longer side fills it and the rest is padded with black. Squashed, both sides fill it, whatever the
proportions are.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

Box = tuple[float, float, float, float]  # x, y (left and top edge), width, height in pixels


@dataclass(frozen=True)
class Frame:
    """Where an image lies inside its square: `top`, `left` and the `height`, `width` it was scaled to."""

    top: int
    left: int
    height: int
    width: int

    @staticmethod
    def fit(height: int, width: int, size: int, squash: bool = False) -> Frame:
        """Frame of a (height, width) image in a square of `size`: centred, aspect ratio kept, or with `squash` all."""
        if squash:
            return Frame(0, 0, size, size)
        longer = max(height, width)
        scaled_height = max(1, round(height * size / longer))
        scaled_width = max(1, round(width * size / longer))
        return Frame((size - scaled_height) // 2, (size - scaled_width) // 2, scaled_height, scaled_width)

    def enlarges(self, height: int, width: int) -> bool:
        """Whether a side of a (height, width) image grows."""
        return self.height > height or self.width > width

    def place(self, scaled: np.ndarray, size: int) -> np.ndarray:
        """The square of `size`, black around the image that was scaled to this frame."""
        square = np.zeros((size, size), scaled.dtype)
        self.cut(square)[...] = scaled
        return square

    def cut(self, square: np.ndarray) -> np.ndarray:
        """The part of a square that the image fills."""
        return square[self.top : self.top + self.height, self.left : self.left + self.width]


def letterbox(image: np.ndarray, size: int, squash: bool = False) -> np.ndarray:
    """Scale a (height, width) image into (size, size), averaging areas along sides that shrink."""
    height, width = image.shape
    frame = Frame.fit(height, width, size, squash)
    smaller = min(frame.width, width), min(frame.height, height)
    scaled = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
    if frame.enlarges(height, width):
        scaled = cv2.resize(scaled, (frame.width, frame.height), interpolation=cv2.INTER_LINEAR)
    return frame.place(scaled, size)


def letterbox_mask(mask: np.ndarray, size: int, squash: bool = False) -> np.ndarray:
    """Scale a (height, width) bool mask into (size, size): True where it covers at least half of a pixel.

    A line or tube thinner than a pixel of the square would vanish, so for a mask that nowhere covers a
    whole pixel the bar is half of its best covered one.
    """
    cover = letterbox(mask.astype(np.float32), size, squash)
    best = float(cover.max())
    return cover >= best / 2 if best > 0 else np.zeros((size, size), bool)


def letterbox_box(box: Box, height: int, width: int, size: int, squash: bool = False) -> Box:
    """Move a box of a (height, width) image to its position in the (size, size) square."""
    frame = Frame.fit(height, width, size, squash)
    across, down = frame.width / width, frame.height / height
    x, y, box_width, box_height = box
    return frame.left + x * across, frame.top + y * down, box_width * across, box_height * down
