"""MedKLIP's position loss (eq. 7 of the paper): which of a few positions does a present entity lie at?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.losses.precision import at_least_float32


def sample_positions(targets: Tensor, negatives: int, scope: str = "entity") -> tuple[Tensor, Tensor]:
    """For every present (image, entity): one of its positions, then `negatives` others.

    `targets` (batch, positions, entities) with 1 present. Returns the indices (present, 2) of image and entity, and
    the candidates (present, 1 + negatives), whose first is the true one. See `negative_candidates` for the
    others; where fewer exist for some entity, as many as exist are drawn. All is drawn on the CPU, so that devices and
    processes agree.
    """
    present = (targets == 1).transpose(1, 2).cpu()  # (batch, entities, positions)
    where = present.any(-1).nonzero()
    marked, others = present[where[:, 0], where[:, 1]], negative_candidates(targets.cpu(), where, scope)
    positive = torch.where(marked, torch.rand(marked.shape), -1.0).argmax(-1, keepdim=True)
    enough = min(negatives, int(others.sum(-1).min())) if len(where) else 0
    cells = torch.where(others, torch.rand(others.shape), -1.0).topk(enough, dim=-1).indices
    candidates = torch.cat([positive, cells % targets.shape[1]], dim=-1)
    return where.to(targets.device), candidates.to(targets.device)


def negative_candidates(targets: Tensor, where: Tensor, scope: str) -> Tensor:
    """Which cells the negatives of the present entities `where` (present, 2) are drawn from, without replacement.

    `entity`: positions of that entity that are not marked present: (present, positions), as the authors' code does it.
    `matrix`: cells of the whole matrix of the image that are not, as it did until commit 5f461ec, so that a position
    can come twice and even be a true one: (present, entities * positions), an entity's positions being neighbours.
    """
    absent = (targets != 1).transpose(1, 2)
    if scope == "entity":
        return absent[where[:, 0], where[:, 1]]
    return absent.flatten(1)[where[:, 0]]


def position_loss(predicted: Tensor, book: Tensor, candidates: Tensor) -> Tensor:
    """Cross-entropy of plain inner products with the candidates' vectors, the first being true; 0 when there are none.

    `predicted` (present, width), `book` (positions, width), `candidates` (present, 1 + negatives).
    """
    if len(predicted) == 0:
        return at_least_float32(predicted).sum() * 0
    logits = (at_least_float32(predicted)[:, None] * book[candidates]).sum(-1)  # no product that autocast would shorten
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))
