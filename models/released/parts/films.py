"""Steps by which authors bring a grey film (rows, columns) uint8 to their network's input, on PIL as they do."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def squash(film: np.ndarray, size: int, resample: Image.Resampling = Image.Resampling.BILINEAR) -> np.ndarray:
    """(size, size) uint8, whatever the proportions were."""
    return np.asarray(Image.fromarray(film).resize((size, size), resample))


def normalise(film: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(channels, rows, columns) float32: grey levels divided by 255, less the mean and by the deviation of each."""
    levels = torch.from_numpy(np.array(film)).float().div(255)
    shape = (-1, 1, 1)
    return (levels[None] - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)


def pad_square(film: np.ndarray, size: int) -> np.ndarray:
    """(size, size) uint8: the longer side becomes `size` by areas (OpenCV), the other is cut to whole pixels and padded
    with black on both sides, as GLoRIA and MGCA do."""
    rows, columns = film.shape
    scale = size / float(max(rows, columns))
    shape = (size, max(1, int(columns * scale))) if rows >= columns else (max(1, int(rows * scale)), size)
    small = cv2.resize(film, shape[::-1], interpolation=cv2.INTER_AREA)
    square = np.zeros((size, size), np.uint8)
    top, left = ((size - side) // 2 for side in shape)
    square[top : top + shape[0], left : left + shape[1]] = small
    return square


def paste_square(film: np.ndarray, size: int) -> np.ndarray:
    """(size, size) uint8: the longer side becomes `size` by Lanczos' filter, the film lies in the middle of black, as
    CheXzero prepares its files."""
    ratio = float(size) / max(film.shape)
    rows, columns = (max(1, int(side * ratio)) for side in film.shape)
    small = np.asarray(Image.fromarray(film).resize((columns, rows), Image.Resampling.LANCZOS))
    square = np.zeros((size, size), np.uint8)
    top, left = (size - rows) // 2, (size - columns) // 2
    square[top : top + rows, left : left + columns] = small
    return square


def centre(film: np.ndarray, size: int) -> np.ndarray:
    """(size, size) from the middle of a film; the start is rounded, and a smaller film padded, as torchvision does."""
    if min(film.shape) < size:
        margins = [max(size - side, 0) for side in film.shape]
        film = np.pad(film, [(margin // 2, margin - margin // 2) for margin in margins])
    top, left = (round((side - size) / 2) for side in film.shape)
    return film[top : top + size, left : left + size]


def shorter_side(film: np.ndarray, size: int, resample: Image.Resampling = Image.Resampling.BILINEAR) -> np.ndarray:
    """The shorter side becomes `size`, the longer is cut to whole pixels, as torchvision resizes PIL's images."""
    rows, columns = film.shape
    shape = (size, int(size * columns / rows)) if rows <= columns else (int(size * rows / columns), size)
    return np.asarray(Image.fromarray(film).resize(shape[::-1], resample))
