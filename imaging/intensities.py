"""Changes of grey levels on batches (batch, 1, height, width) in 0..255, each sample by its own amount.

The conventions are Pillow's, which the published augmentations were written with.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 256
SMOOTH = ((1.0, 1.0, 1.0), (1.0, 5.0, 1.0), (1.0, 1.0, 1.0))  # Pillow's filter behind sharpness, over 13
NEGLIGIBLE = -30.0  # logarithm of a weight that no grey level shows


def adjust_brightness(images: Tensor, factor: Tensor | float) -> Tensor:
    """Multiply grey levels by `factor` (batch, 1, 1, 1)."""
    return (images * factor).clamp(0, LEVELS - 1)


def adjust_contrast(images: Tensor, factor: Tensor | float) -> Tensor:
    """Multiply distances from each image's mean by `factor` (batch, 1, 1, 1)."""
    mean = images.mean((1, 2, 3), keepdim=True)
    return torch.lerp(mean, images, torch.as_tensor(factor, device=images.device)).clamp(0, LEVELS - 1)


def adjust_sharpness(images: Tensor, factor: float) -> Tensor:
    """Multiply distances from the smoothed image by `factor`; the outermost pixels stay."""
    kernel = images.new_tensor(SMOOTH).expand(len(images), 1, 3, 3)
    smooth = images.clone()
    inner = F.conv2d(images.transpose(0, 1), kernel / kernel[0].sum(), groups=len(images))  # one group per image: fast
    smooth[..., 1:-1, 1:-1] = inner.transpose(0, 1)
    return torch.lerp(smooth, images, factor).clamp(0, LEVELS - 1)


def stretch_contrast(images: Tensor) -> Tensor:
    """Stretch grey levels so that the darkest pixel is 0 and the brightest 255; an even image stays."""
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    span = high - low
    return torch.where(span > 0, (images - low) * ((LEVELS - 1) / span.clamp(min=1e-3)), images)


def equalise(images: Tensor) -> Tensor:
    """Make all grey levels of an image about equally frequent."""
    levels = images.round().long().flatten(1)
    counts = levels.new_zeros(len(images), LEVELS).scatter_add_(1, levels, torch.ones_like(levels))
    brightest = counts.gather(1, levels.amax(1, keepdim=True))
    step = (levels.shape[1] - brightest) // (LEVELS - 1)
    below = counts.cumsum(1) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp(max=LEVELS - 1)
    table = torch.where(step > 0, table, torch.arange(LEVELS, device=images.device))  # too few levels to spread
    return table.gather(1, levels).view_as(images).to(images.dtype)


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur square images by a Gaussian of std `sigma` (batch,) in pixels; weights outside an image are left out.

    Two products with a band matrix per image are faster than convolutions with a kernel per image.
    """
    position = torch.arange(images.shape[-1], device=images.device)
    distance = (position[:, None] - position).square()
    logits = -distance / (2 * sigma[:, None, None].square())
    # Row i holds the weights of all positions for position i. Denormal numbers would slow the products 20 times.
    weights = logits.masked_fill(logits < NEGLIGIBLE, -torch.inf).softmax(-1).to(images.dtype)
    return (weights @ images[:, 0] @ weights.transpose(1, 2))[:, None]
