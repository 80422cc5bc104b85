"""Augmentation of a batch on its device, drawn anew for every sample. Needs torch and kornia.

Horizontal flips are off unless asked for: a flipped film contradicts every "left" and "right" of its report.
"""

from __future__ import annotations

from dataclasses import dataclass

import kornia.augmentation as kornia
from torch import Tensor, nn


@dataclass(frozen=True)
class AugmentationConfig:
    """What is changed at random during training; the defaults are MedKLIP's crop without its flip."""

    crop_scale: float = 0.2  # smallest share of the area that a random crop keeps; 1 switches cropping off
    crop_ratio: float = 0.75  # narrowest aspect ratio of a crop; the widest is its inverse
    rotation: float = 0.0  # degrees either way
    translation: float = 0.0  # share of the side either way
    brightness: float = 0.0  # 0.2 means factors of 0.8 to 1.2
    contrast: float = 0.0
    horizontal_flip: float = 0.0  # probability; the published codes use 0.5, under reports that say left and right

    def __post_init__(self) -> None:
        if not 0 < self.crop_scale <= 1 or not 0 < self.crop_ratio <= 1:
            raise ValueError("augmentation: crop_scale and crop_ratio must lie above 0 and at most at 1")


class Augmentation(nn.Module):
    """Random crop, affine, brightness, contrast and flip, as the configuration asks."""

    def __init__(self, config: AugmentationConfig, size: int) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        if config.crop_scale < 1:
            ratio = (config.crop_ratio, 1 / config.crop_ratio)
            steps.append(kornia.RandomResizedCrop((size, size), scale=(config.crop_scale, 1.0), ratio=ratio))
        if config.rotation or config.translation:
            shift = (config.translation, config.translation)
            steps.append(kornia.RandomAffine(config.rotation, translate=shift))
        if config.brightness:
            steps.append(kornia.RandomBrightness((1 - config.brightness, 1 + config.brightness)))
        if config.contrast:
            steps.append(kornia.RandomContrast((1 - config.contrast, 1 + config.contrast)))
        if config.horizontal_flip:
            steps.append(kornia.RandomHorizontalFlip(p=config.horizontal_flip))
        self.steps = nn.Sequential(*steps)

    def forward(self, images: Tensor) -> Tensor:
        """8-bit (batch, 1, size, size) -> float of the same shape in 0..255, each sample changed on its own."""
        return self.steps(images.float() / 255).clamp(0, 1) * 255
