"""Binary cross-entropy of matched and mismatched pairs: do these belong together? As in LXMERT and VL-BERT."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from models.losses.precision import at_least_float32


def matching_loss(matched: Tensor, mismatched: Tensor, known: Tensor) -> Tensor:
    """Half the mean of -log sigmoid(`matched`) plus half that of -log(1 - sigmoid(`mismatched`)), logits (batch,).

    Where `known` (batch,) is False, a mismatched pair is none and is left out. 0 for an empty batch.
    """
    found = F.softplus(-at_least_float32(matched)).sum() / max(len(matched), 1)
    refused = (F.softplus(at_least_float32(mismatched)) * known).sum() / known.sum().clamp(min=1)
    return (found + refused) / 2
