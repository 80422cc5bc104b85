"""MedKLIP's existence loss (eq. 6 of the paper): is the entity in the image? Unmentioned entities are left out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def existence_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the mentioned entities; 0 when nothing is mentioned.

    `logits` is (batch, q, 1) for the paper's binary cross-entropy on a scalar, or (batch, q, 2) for the two-way
    softmax of the authors' code. `labels` (batch, q): 1 present, 0 absent, anything else is left out.
    """
    mentioned = (labels == 0) | (labels == 1)
    if not mentioned.any():
        return logits.sum() * 0
    chosen, truth = logits[mentioned], labels[mentioned]
    if logits.shape[-1] == 1:
        return F.binary_cross_entropy_with_logits(chosen[:, 0], truth.to(chosen.dtype))
    return F.cross_entropy(chosen, truth.to(torch.long))
