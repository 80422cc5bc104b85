"""InfoNCE of a query with its key among the keys of a queue (He et al., MoCo, arXiv 1911.05722, equation 1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.losses.precision import at_least_float32


def queue_contrast(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """The mean (a scalar) over `queries` (batch, dim), whose keys (batch, dim) are in their order.

    `queue` (size, dim) holds the negatives. All rows are of unit length. 0 for an empty batch.
    """
    logits = queue_logits(queries, keys, queue, temperature)
    if not len(logits):
        return logits.sum()
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


def queue_logits(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """(batch, 1 + size): the cosine with the own key, then those with the queue, over temperature."""
    with torch.autocast(queries.device.type, enabled=False):
        queries, keys, queue = (at_least_float32(rows) for rows in (queries, keys.detach(), queue))
        own = (queries * keys).sum(-1, keepdim=True)
        return torch.cat([own, queries @ queue.to(queries.dtype).T], dim=1) / temperature
