"""Negatives for matching images and texts, drawn by how similar they are (ALBEF, arXiv 2107.07651)."""

from __future__ import annotations

import torch
from torch import Tensor

from models.errors import ModelError
from models.losses.precision import at_least_float32


def draw_negatives(logits: Tensor, equal: Tensor | None = None, floor: float = 1e-4) -> Tensor:
    """(batch,) a candidate for each row of `logits` (batch, batch), never the row's own.

    The probabilities are the softmax of a row without its own, plus `floor`: where logits are large, those of all
    others may be 0 in floating point, and the released code then fails. Where `equal` (batch, batch) is True a
    candidate has the same text and is not drawn, unless there is no other. Logits that are not finite make all alike.
    Drawn with the CPU's generator, so that devices and processes agree.
    """
    logits = at_least_float32(logits.detach())
    itself = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    weights = (logits.softmax(1) + floor).nan_to_num(1).masked_fill(itself, 0)
    if equal is not None:
        others = weights.masked_fill(equal, 0)
        weights = torch.where(others.any(1, keepdim=True), others, weights)
    weights = weights.cpu()
    if not weights.any(1).all():
        raise ModelError(
            "no negative is left to draw for the matching, because the probabilities of all others are 0; raise "
            "`negative_floor` above 0"
        )
    return torch.multinomial(weights, 1)[:, 0].to(logits.device)
