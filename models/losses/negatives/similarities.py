"""Similarities of every image with every text, of which hinge losses are made."""

from __future__ import annotations

import torch
from torch import Tensor

from models.losses.precision import at_least_float32


def similarities(images: Tensor, texts: Tensor, measure: str) -> Tensor:
    """(images, dim), (texts, dim) -> (images, texts).

    `cosine`: inner products, which are cosines of rows of unit length. `order`: how far the text is from being more
    general than the image, minus the length of [text - image]_+ (order embeddings: Vendrov et al., arXiv 1511.06361).
    """
    with torch.autocast(images.device.type, enabled=False):
        images, texts = at_least_float32(images), at_least_float32(texts)
        if measure == "cosine":
            return images @ texts.T
        return -torch.linalg.vector_norm((texts - images[:, None]).relu(), dim=-1)  # whose gradient at 0 is 0
