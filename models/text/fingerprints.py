"""A number for each text that tells whether two texts are the same, for texts that lie on several processes."""

from __future__ import annotations

import torch
from torch import Tensor

from models.method import Tokens

MULTIPLIER = 6364136223846793005  # of Knuth's MMIX generator; products wrap around


@torch.no_grad()
def fingerprints(tokens: Tokens) -> Tensor:
    """(batch,) int64: equal for texts of the same tokens, however they are padded, and practically only for them."""
    powers = torch.full(tokens.ids.shape[1:], MULTIPLIER, device=tokens.ids.device).cumprod(0)
    mixed = (tokens.ids + 1) * MULTIPLIER
    mixed = (mixed ^ (mixed >> 29)) * powers
    return (mixed * tokens.mask).sum(1)
