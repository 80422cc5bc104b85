"""ALBEF's image-text contrast with momentum distillation (Li et al., NeurIPS 2021, arXiv 2107.07651).

The candidates of an image are texts as the momentum towers see them: those of the batch, then those of a queue. The
targets are between the truth and what the momentum towers think.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.losses.contrast.soft_cross_entropy import soft_cross_entropy
from models.losses.precision import at_least_float32


def candidate_logits(vectors: Tensor, candidates: Tensor, queue: Tensor, temperature: Tensor) -> Tensor:
    """(batch, batch + size) cosines over `temperature` of `vectors` (batch, dim) with the candidates of the batch
    (batch, dim) and those of a `queue` (size, dim), all of unit length."""
    with torch.autocast(vectors.device.type, enabled=False):
        vectors, candidates = at_least_float32(vectors), at_least_float32(candidates)
        return vectors @ torch.cat([candidates, queue.to(candidates)]).detach().T / temperature


def distilled_targets(momentum_logits: Tensor, truth: Tensor, alpha: Tensor | float) -> Tensor:
    """`alpha` times the softmax of the momentum towers' logits, and the rest of `truth`, (batch, candidates) all."""
    return alpha * momentum_logits.detach().softmax(1) + (1 - alpha) * truth


def distilled_contrast(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean cross-entropy of one direction; 0 for an empty batch."""
    return soft_cross_entropy(logits, targets).sum() / max(1, len(logits))


def true_candidates(own: Tensor, queued: int, equal: Tensor | None = None) -> Tensor:
    """(batch, batch + queued) distributions over the candidates: the own one, or all that are equal to it.

    `own` (batch, ...) gives the number and the device of the rows. `equal` (batch, batch + queued) is True where a
    candidate has the same text.
    """
    if equal is None:
        return torch.eye(len(own), len(own) + queued, device=own.device, dtype=at_least_float32(own).dtype)
    shares = equal.to(at_least_float32(own).dtype)
    return shares / shares.sum(1, keepdim=True)
