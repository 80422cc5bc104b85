"""MedKLIP's existence loss (eq. 6 of the paper): is the entity in the image? Unmentioned entities are left out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.losses.precision import at_least_float32


def existence_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the mentioned entities; 0 when nothing is mentioned.

    `logits` is (batch, q, 1) for the paper's binary cross-entropy on a scalar, or (batch, q, 2) for the two-way
    softmax of the authors' code. `labels` (batch, q): 1 present, 0 absent, anything else is left out.
    """
    mentioned = (labels == 0) | (labels == 1)
    logits, truth = at_least_float32(logits), labels.clamp(0, 1).to(torch.long)
    if logits.shape[-1] == 1:
        terms = F.binary_cross_entropy_with_logits(logits[..., 0], truth.to(logits.dtype), reduction="none")
    else:
        terms = F.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none").view_as(truth)
    return (terms * mentioned).sum() / mentioned.sum().clamp(min=1)
