"""How LoVT's regions and sentences look at each other (Mueller et al., ECCV 2022, arXiv 2112.02889)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.encoders.heads.mgca_projection import MaskedBatchNorm
from models.losses.precision import at_least_float32


class SharedCrossAttention(nn.Module):
    """Two sequences look at each other through the same keys, values and output, then a batch norm.

    The score of two places is the inner product of their keys over the root of the width: it is the same both ways.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.key, self.value, self.output = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm = MaskedBatchNorm(dim)

    def scores(self, places: Tensor, others: Tensor) -> Tensor:
        """(batch, places, others), of `places` (batch, places, dim) and `others` (batch, others, dim)."""
        places, others = self.key(places), self.key(others)
        with torch.autocast(places.device.type, enabled=False):
            return at_least_float32(places) @ at_least_float32(others).mT / places.shape[-1] ** 0.5

    def gather(
        self, scores: Tensor, others: Tensor, seen: Tensor, there: Tensor, counted: Tensor | None = None
    ) -> Tensor:
        """What each place gathers from `others` (batch, others, dim): (batch, places, dim).

        `scores` is (batch, places, others). Only others where `seen` (batch, others) is True are looked at, and only
        places where `there` (batch, places) is True look. Those where `counted` (batch, places) is True enter the
        statistics of the batch norm; None: all.
        """
        weights = self.attention(scores, seen).to(others) * there[..., None]
        return self.norm(self.output(weights @ self.value(others)), counted)

    @staticmethod
    def attention(scores: Tensor, seen: Tensor) -> Tensor:
        """Softmax of `scores` (batch, places, others) over the others where `seen` (batch, others) is True."""
        return scores.masked_fill(~seen[:, None], torch.finfo(scores.dtype).min).softmax(2)
