"""MedKLIP's decoder of segmentation, ResUNet (its code, Sample_Finetuning_SIIMACR/I2_segmentation, af43105).

Two blocks at the coarsest map, then a step per halving of the sides: a transposed convolution doubles the map, which is
joined with the finer one and goes through two blocks. The last step reads the image itself. A block is a 3 x 3
convolution, batch norm and ReLU. On ResNet-50 to its third stage, as MedKLIP has it, the steps have 512, 256, 128 and
64 channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DROPOUT = 0.2  # before the classifier


class ResUNetDecoder(nn.Module):
    """Reads an image and the maps of its encoder, fine to coarse."""

    def __init__(self, image_channels: int, channels: Sequence[int], width: int) -> None:
        """`channels` are those of the maps. `width` is that of the last step; every step before has twice as many."""
        super().__init__()
        skips = [image_channels, *channels[:-1]]
        widths = [width * 2**level for level in range(len(channels))]  # fine to coarse
        below = [*widths[1:], channels[-1]]
        self.bridge = nn.Sequential(*_blocks(channels[-1], channels[-1]))
        self.steps = nn.ModuleList(_Step(*sizes) for sizes in reversed(list(zip(below, skips, widths, strict=True))))
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, image: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """(batch, width, rows, columns) of the image's size, of images (batch, channels, rows, columns)."""
        decoded = self.bridge(maps[-1])
        for step, skip in zip(self.steps, reversed([image, *maps[:-1]]), strict=True):
            decoded = step(decoded, skip)
        result: Tensor = self.dropout(decoded)
        return result


class _Step(nn.Module):
    """One stage of the decoder: enlarge, join the encoder's map of that size, two blocks."""

    def __init__(self, below: int, skip: int, width: int) -> None:
        super().__init__()
        self.enlarge = nn.ConvTranspose2d(below, width, kernel_size=2, stride=2)
        self.blocks = nn.Sequential(*_blocks(width + skip, width))

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        """(batch, width, rows, columns) of the size of `skip`, which is twice that of `below` up to rounding."""
        enlarged = self.enlarge(below)
        if enlarged.shape[2:] != skip.shape[2:]:  # sides that cannot be halved
            enlarged = F.interpolate(enlarged, skip.shape[2:], mode="bilinear")
        joined: Tensor = self.blocks(torch.cat([enlarged, skip], dim=1))
        return joined


def _blocks(before: int, after: int) -> list[nn.Module]:
    """The layers of two blocks: convolution, batch norm, ReLU."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return layers
