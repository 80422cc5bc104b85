"""Soft assignment of a batch to prototypes that all are used alike (Sinkhorn and Knopp; SwAV, arXiv 2006.09882)."""

from __future__ import annotations

import torch
from torch import Tensor

from models.errors import ModelError
from models.losses.precision import at_least_float32


@torch.no_grad()
def sinkhorn(logits: Tensor, epsilon: float = 0.05, iterations: int = 3) -> Tensor:
    """Assignments (batch, prototypes), each row a distribution, of the similarities `logits` (batch, prototypes).

    exp(logits / epsilon) is scaled in turn so that every prototype gets the same share of the batch and every row the
    same share of the prototypes. The logarithms are scaled, so that nothing overflows and no prototype divides by 0.
    The authors' loop over a gathered batch in several processes is this one over that batch.
    """
    if epsilon <= 0:
        raise ModelError(f"sinkhorn: epsilon is {epsilon}, but must be above 0")
    assignment = at_least_float32(logits) / epsilon
    for _ in range(iterations):
        assignment = assignment.log_softmax(0).log_softmax(1)
    return assignment.softmax(1)
