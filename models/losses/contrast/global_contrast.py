"""InfoNCE whose negatives may also be of the own modality, an option of LoVT's code (arXiv 2112.02889)."""

from __future__ import annotations

import torch
from torch import Tensor

from models.losses.info_nce import matched_pairs, pair_logits


def global_contrast(
    images: Tensor, texts: Tensor, temperature: float, same_modality: bool = False
) -> tuple[Tensor, Tensor]:
    """Mean losses of image to text and of text to image; rows of `images` and `texts` (batch, dim) are pairs.

    Cosines are divided by `temperature`. With `same_modality` the other images are negatives of an image as well, and
    the other texts of a text.
    """
    logits = pair_logits(images, texts, temperature)
    if not same_modality:
        return matched_pairs(logits, 1, 0), matched_pairs(logits, 0, 1)
    return _with_own(logits, images, temperature), _with_own(logits.T, texts, temperature)


def _with_own(logits: Tensor, own: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of rows with their diagonal, where the others of `own` (batch, dim) are candidates too."""
    others = pair_logits(own, own, temperature)
    itself = torch.eye(len(own), dtype=torch.bool, device=own.device)
    candidates = torch.cat([logits, others.masked_fill(itself, -torch.inf)], 1)
    return (candidates.logsumexp(1) - logits.diagonal()).sum() / max(1, len(own))
