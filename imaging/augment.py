"""Random augmentation of a batch on its device, different for every sample. Needs torch.

Crop, rotation, shift, scale and shear make one affine map per sample, so an image is resampled once. The caller decides
which samples are mirrored, because it must also exchange the words "left" and "right" of their reports.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imaging.intensities import adjust_brightness, adjust_contrast, adjust_sharpness, blur, equalise, stretch_contrast
from store.errors import SettingError
from store.settings import setting

SMALLEST_BLUR = 0.1  # pixels (ConVIRT)
# RandAugment as MedKLIP's code sets it: 10 operations, each skipped half of the time; magnitudes are of 10.
OPERATIONS = (
    *("identity", "auto_contrast", "equalise", "brightness", "sharpness"),
    *("shear_x", "shear_y", "translate_x", "translate_y", "rotate"),
)
OPERATION_PROBABILITY = 0.5
LARGEST_MAGNITUDE = 10.0
LARGEST_SHEAR, LARGEST_SHIFT, LARGEST_ROTATION = 0.3, 10 / 224, 30.0  # at that magnitude: -, share of the side, degrees


@dataclass(frozen=True)
class AugmentationConfig:
    """What is changed at random during training: nothing by default."""

    crop_scale: float = setting(1.0, "Smallest share of the area that a random crop keeps. 1: no crop.")
    crop_ratio: float = setting(0.75, "Narrowest aspect ratio of a crop; the widest is its inverse.")
    window: bool = setting(
        False, "Cut a random window of the network's size out of a larger image, instead of a resized crop."
    )
    rotation: float = setting(0.0, "Largest rotation in degrees, either way.")
    translation: float = setting(0.0, "Largest shift as a share of the side, either way.")
    scaling: float = setting(0.0, "0.05 scales images by 0.95 to 1.05.")
    brightness: float = setting(0.0, "0.2 multiplies grey levels by 0.8 to 1.2.")
    contrast: float = setting(0.0, "0.2 multiplies distances from the mean grey level by 0.8 to 1.2.")
    jitter_probability: float = setting(1.0, "Share of the images whose brightness and contrast are changed.")
    blur: float = setting(0.0, "Largest std of a Gaussian blur in pixels. 0: no blur.")
    blur_probability: float = setting(1.0, "Share of the images that are blurred.")
    random_operations: int = setting(0, "RandAugment: number of its ten operations, one after the other.")
    random_magnitude: float = setting(7.0, "Magnitude of RandAugment's operations, up to 10.")
    horizontal_flip: float = setting(
        0.0, "Probability of a mirror image. The published codes use 0.5 with reports that say left and right."
    )
    flip_sides: str = setting(
        "swap", "swap: sides are exchanged in texts and positions too. paper: the image alone is mirrored."
    )

    def __post_init__(self) -> None:
        if not 0 < self.crop_scale <= 1 or not 0 < self.crop_ratio <= 1:
            raise SettingError("augmentation: crop_scale and crop_ratio must lie above 0 and at most at 1")
        if not 0 <= self.random_magnitude <= LARGEST_MAGNITUDE:
            raise SettingError(f"augmentation: random_magnitude is {self.random_magnitude}, but must lie in 0..10")
        for name in ("horizontal_flip", "jitter_probability", "blur_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(f"augmentation: {name} is {getattr(self, name)}, but is a probability")
        if self.flip_sides not in ("swap", "paper"):
            raise SettingError(f"augmentation: flip_sides is `swap` or `paper`, not `{self.flip_sides}`")
        if (self.blur and self.blur < SMALLEST_BLUR) or not 0 <= self.scaling < 1:
            raise SettingError(f"augmentation: blur is 0 or at least {SMALLEST_BLUR}, and scaling lies in 0..1")

    @property
    def varies(self) -> bool:
        """Whether an image can come out in two ways."""
        moved = self.crop_scale < 1 or self.window or self.rotation or self.translation or self.scaling
        jittered = self.jitter_probability and (self.brightness or self.contrast)
        blurred = self.blur and self.blur_probability
        return bool(moved or jittered or blurred or self.random_operations or self.horizontal_flip)


class Augmentation(nn.Module):
    """Random window, crop, affine map, RandAugment, brightness, contrast and blur, as the configuration asks.

    `size` is the side of the result. All random numbers come from the CPU's generator (or the one given), so they are
    the same on every device.
    """

    def __init__(self, config: AugmentationConfig, size: int) -> None:
        super().__init__()
        self.config = config
        self.size = size

    @torch.no_grad()
    def forward(
        self, images: Tensor, flipped: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """8-bit (batch, 1, side, side) -> float (batch, 1, size, size) in 0..255, each sample changed on its own.

        `flipped` (batch,) bool says which samples are mirrored. Masks may be further channels where no grey level is
        changed.
        """
        config, rng = self.config, _Sampler(len(images), generator)
        if flipped is not None:
            images = torch.where(flipped.to(images.device)[:, None, None, None], images.flip(-1), images)
        if config.window:
            images = self._cut_windows(images, rng)
        operations = rng.operations(config.random_operations)
        images = self._resample(images.float(), rng, operations)
        for chosen in operations:
            images = self._apply_operation(images, chosen)
        return self._jitter(images, rng)

    def _cut_windows(self, images: Tensor, rng: _Sampler) -> Tensor:
        side = images.shape[-1]
        if side < self.size:
            raise SettingError(f"augmentation: a window of {self.size} pixels does not fit into images of {side}")
        top, left = (rng.integers(side - self.size + 1).to(images.device) for _ in range(2))
        windows = images.unfold(2, self.size, 1).unfold(3, self.size, 1)  # a view of all of them
        return windows[torch.arange(len(images), device=images.device), :, top, left]

    def _resample(self, images: Tensor, rng: _Sampler, operations: list[Tensor]) -> Tensor:
        """Apply everything that moves pixels; pixels from outside the image are black."""
        config = self.config
        maps = []  # from coordinates after a step to those before it, the first step first
        if config.crop_scale < 1 and not config.window:
            maps.append(_sample_crop(config, rng))
        if config.rotation or config.translation or config.scaling:
            shift = [rng.either(2 * config.translation) for _ in range(2)]
            maps.append(_affine(rng.either(config.rotation), 1 + rng.either(config.scaling), *shift))
        maps += [_sample_map(chosen, rng, config.random_magnitude / LARGEST_MAGNITUDE) for chosen in operations]
        if not maps and images.shape[-1] == self.size:
            return images
        whole = torch.eye(3).expand(len(images), 3, 3)
        for step in maps:
            whole = whole @ step
        shape = [len(images), 1, self.size, self.size]
        grid = F.affine_grid(whole[:, :2].to(images.device), shape, align_corners=False)
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def _apply_operation(self, images: Tensor, chosen: Tensor) -> Tensor:
        """Apply one round of RandAugment's changes of grey levels; `chosen` (batch,) indexes the operations."""
        factor = 0.1 + 1.8 * self.config.random_magnitude / LARGEST_MAGNITUDE
        changes: dict[str, Callable[[Tensor], Tensor]] = {
            "auto_contrast": stretch_contrast,
            "equalise": equalise,
            "brightness": lambda part: adjust_brightness(part, factor),
            "sharpness": lambda part: adjust_sharpness(part, factor),
        }
        for name, change in changes.items():
            rows = (chosen == OPERATIONS.index(name)).nonzero()[:, 0].to(images.device)
            if len(rows):
                images = images.index_copy(0, rows, change(images[rows]))
        return images

    def _jitter(self, images: Tensor, rng: _Sampler) -> Tensor:
        config, given = self.config, images
        if config.brightness:
            images = adjust_brightness(images, _per_image(1 + rng.either(config.brightness), images))
        if config.contrast:
            images = adjust_contrast(images, _per_image(1 + rng.either(config.contrast), images))
        images = rng.keep(given, images, config.jitter_probability)
        if config.blur:
            blurred = blur(images, rng.uniform(SMALLEST_BLUR, config.blur).to(images.device))
            images = rng.keep(images, blurred, config.blur_probability)
        return images


class _Sampler:
    """Random numbers, one per sample."""

    def __init__(self, batch: int, generator: torch.Generator | None) -> None:
        self.batch, self.generator = batch, generator

    def uniform(self, low: float, high: float) -> Tensor:
        """(batch,) between `low` and `high`."""
        return low + (high - low) * torch.rand(self.batch, generator=self.generator)

    def either(self, largest: float) -> Tensor:
        """(batch,) of either sign, up to `largest`."""
        return self.uniform(-largest, largest)

    def integers(self, count: int) -> Tensor:
        """(batch,) from 0 to `count` - 1."""
        return torch.randint(count, (self.batch,), generator=self.generator)

    def keep(self, before: Tensor, after: Tensor, probability: float) -> Tensor:
        """The images `after` a change, with this probability each, else those `before`."""
        if probability == 1 or before is after:
            return after
        return torch.where(_per_image(self.uniform(0, 1) < probability, before).bool(), after, before)

    def operations(self, rounds: int) -> list[Tensor]:
        """Indices of operations (batch,), one tensor per round; 0, the identity, where an operation is skipped."""
        return [self.integers(len(OPERATIONS)) * (self.uniform(0, 1) < OPERATION_PROBABILITY) for _ in range(rounds)]


def _per_image(values: Tensor, images: Tensor) -> Tensor:
    return values.to(images)[:, None, None, None]


def _affine(angle: Tensor, scale: Tensor | float, shift_x: Tensor, shift_y: Tensor) -> Tensor:
    """(batch, 3, 3) maps back from an image turned by degrees, scaled and then shifted (the side being 2 long)."""
    turn = torch.deg2rad(angle)
    linear = torch.stack([turn.cos(), turn.sin(), -turn.sin(), turn.cos()], -1).unflatten(-1, (2, 2))
    result = torch.eye(3).repeat(len(angle), 1, 1)
    result[:, :2, :2] = linear / torch.as_tensor(scale).view(-1, 1, 1)
    result[:, :2, 2:] = -result[:, :2, :2] @ torch.stack([shift_x, shift_y], -1)[..., None]
    return result


def _sample_crop(config: AugmentationConfig, rng: _Sampler) -> Tensor:
    """(batch, 3, 3) maps from coordinates of a crop to those of the image; area and log ratio are uniform."""
    area, widest = rng.uniform(config.crop_scale, 1), -math.log(config.crop_ratio)
    ratio = rng.either(widest).exp()
    extent = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], -1).clamp(max=1)
    start = torch.stack([rng.uniform(0, 1), rng.uniform(0, 1)], -1) * (1 - extent)
    result = torch.diag_embed(F.pad(extent, (0, 1), value=1.0))
    result[:, :2, 2] = 2 * start + extent - 1
    return result


def _sample_map(chosen: Tensor, rng: _Sampler, magnitude: float) -> Tensor:
    """(batch, 3, 3) of one round of RandAugment; the identity for operations that move nothing."""
    sign = torch.where(rng.uniform(0, 1) < 0.5, -1.0, 1.0) * magnitude

    def amount(name: str, largest: float) -> Tensor:
        return torch.where(chosen == OPERATIONS.index(name), sign * largest, 0.0)

    shift = [amount(f"translate_{axis}", 2 * LARGEST_SHIFT) for axis in "xy"]
    result = _affine(amount("rotate", LARGEST_ROTATION), 1.0, *shift)
    result[:, 0, 1] += amount("shear_x", LARGEST_SHEAR)
    result[:, 1, 0] += amount("shear_y", LARGEST_SHEAR)
    return result
