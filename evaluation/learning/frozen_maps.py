"""The maps of an encoder that is not trained, which a detection head reads: once per image is enough."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from torch import Tensor

from evaluation.inference import IndexedPixels, predict_batches
from evaluation.learning.yolo import coarse_maps
from models.method import Method

MEGABYTE = 1 << 20


def whole_image_encoder(method: Method) -> Method:
    """A copy of `method` that sees whole images: a crop to the centre would cut boxes off."""
    encoder = deepcopy(method).to(memory_format=torch.channels_last)
    encoder.fit = "resize"
    return encoder


class FrozenMaps:
    """The feature maps of images that a head reads, computed once if all of them fit into `memory` megabytes."""

    def __init__(self, encoder: Method, pixels: IndexedPixels, memory: int) -> None:
        self.encoder, self.pixels = encoder, pixels
        self.device = encoder.device
        first = self._compute(pixels[:1])
        self.shapes = [maps.shape[1:] for maps in first]
        fits = sum(maps.nbytes for maps in first) * len(pixels) <= memory * MEGABYTE
        self.kept = self._compute(pixels) if fits else None

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, part: slice | np.ndarray) -> list[Tensor]:
        """Maps (images, channels, rows, columns) of some images, fine to coarse."""
        found = [maps[part] for maps in self.kept] if self.kept else self._compute(self.pixels[part])
        return [torch.from_numpy(maps).to(self.device, memory_format=torch.channels_last) for maps in found]

    def _compute(self, pixels: IndexedPixels) -> list[np.ndarray]:
        def predict(images: Tensor) -> list[Tensor]:
            return coarse_maps(self.encoder.image_maps(images), self.encoder.size)

        return predict_batches(self.encoder, pixels, predict)
