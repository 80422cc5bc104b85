"""Steps by which authors bring a grey film (rows, columns) uint8 to their network's input, on PIL as they do."""

from __future__ import annotations

from collections.abc import Sequence

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
