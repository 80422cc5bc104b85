"""Bidirectional InfoNCE between images and texts (Zhang et al., ConVIRT, arXiv 2010.00747, equations 2 to 4).

ConVIRT weighs the two directions (.75 for image to text), CheXzero takes their mean, MGCA and GLoRIA their sum.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.losses.precision import at_least_float32


def info_nce(
    images: Tensor,
    texts: Tensor,
    temperature: float | Tensor,
    image_weight: float = 0.5,
    text_weight: float | None = None,
    normalise: bool = True,
) -> Tensor:
    """The loss (a scalar) of `images` (batch, dim) and `texts` (batch, dim), whose rows are pairs.

    `image_weight` is that of image to text, `text_weight` that of text to image (None: 1 - `image_weight`).
    """
    return matched_pairs(pair_logits(images, texts, temperature, normalise), image_weight, text_weight)


def pair_logits(images: Tensor, texts: Tensor, temperature: float | Tensor, normalise: bool = True) -> Tensor:
    """Cosines (inner products without `normalise`) over temperature: (images, dim), (texts, dim) -> (images, texts)."""
    with torch.autocast(images.device.type, enabled=False):
        images, texts = at_least_float32(images), at_least_float32(texts)
        if normalise:
            images, texts = F.normalize(images, dim=-1), F.normalize(texts, dim=-1)
        return images @ texts.T / temperature


def matched_pairs(logits: Tensor, image_weight: float = 0.5, text_weight: float | None = None) -> Tensor:
    """Cross-entropy of `logits` (batch, batch) with their diagonal, along the rows and along the columns, weighted.

    Rows are images, columns are texts; a weight counts for its direction's mean over the batch. 0 for an empty batch.
    """
    if logits.ndim != 2 or logits.shape[0] != logits.shape[1]:
        raise ValueError(f"contrasting pairs needs as many images as texts, not logits of shape {tuple(logits.shape)}")
    if not len(logits):
        return logits.sum()
    logits = at_least_float32(logits)
    pairs = torch.arange(len(logits), device=logits.device)
    text_weight = 1 - image_weight if text_weight is None else text_weight
    return image_weight * F.cross_entropy(logits, pairs) + text_weight * F.cross_entropy(logits.T, pairs)
