"""MedKLIP's position loss (eq. 7 of the paper): which of a few positions does a present entity lie at?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sample_positions(targets: Tensor, negatives: int) -> tuple[Tensor, Tensor]:
    """For every present (image, entity): one of its positions, then `negatives` others drawn without replacement.

    `targets` (batch, positions, entities) with 1 present. Returns the indices (present, 2) of image and entity, and
    the candidates (present, 1 + negatives), whose first is the true one. Negatives are positions of that entity that
    are not marked present, as in the authors' code; when fewer exist, as many as exist are drawn.
    """
    per_entity = targets.transpose(1, 2) == 1  # (batch, entities, positions)
    where = per_entity.any(-1).nonzero()
    marked = per_entity[where[:, 0], where[:, 1]]
    draw = torch.rand(marked.shape, device=marked.device)
    positive = torch.where(marked, draw, -1.0).argmax(-1, keepdim=True)
    enough = int((~marked).sum(-1).min()) if len(marked) else 0
    others = torch.where(marked, -1.0, draw).topk(min(negatives, enough), dim=-1).indices
    return where, torch.cat([positive, others], dim=-1)


def position_loss(predicted: Tensor, book: Tensor, candidates: Tensor) -> Tensor:
    """Cross-entropy of plain inner products with the candidates' vectors, the first being true; 0 when there are none.

    `predicted` (present, width), `book` (positions, width), `candidates` (present, 1 + negatives).
    """
    if len(predicted) == 0:
        return predicted.sum() * 0
    logits = torch.einsum("nw,ncw->nc", predicted, book[candidates])
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))
