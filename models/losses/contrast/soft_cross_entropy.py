"""Cross-entropy with targets that are distributions."""

from __future__ import annotations

from torch import Tensor

from models.losses.precision import at_least_float32


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """(rows,) -sum_k targets_k log softmax_k(logits), of `logits` and `targets` (rows, classes)."""
    return -(targets * at_least_float32(logits).log_softmax(-1)).sum(-1)
