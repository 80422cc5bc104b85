"""BioViL's projections (Boecking et al., ECCV 2022): of the patches of an image, and of the [CLS] of a text.

Their modules have the order and the names of the released files.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

TEXT_EPSILON = 1e-12


def patch_projection(width: int, hidden: int, dim: int) -> nn.Sequential:
    """(batch, width, rows, columns) -> (batch, dim, rows, columns): layers on each patch, the first without bias."""
    return nn.Sequential(
        nn.Conv2d(width, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(), nn.Conv2d(hidden, dim, 1)
    )


class TextProjection(nn.Module):
    """A layer with GELU and norm, and a linear one."""

    def __init__(self, width: int, hidden: int, dim: int) -> None:
        super().__init__()
        self.dense_to_hidden = nn.Linear(width, hidden)
        self.LayerNorm = nn.LayerNorm(hidden, eps=TEXT_EPSILON)
        self.dense_to_output = nn.Linear(hidden, dim)

    def forward(self, vectors: Tensor) -> Tensor:
        """(..., width) -> (..., dim)."""
        projected: Tensor = self.dense_to_output(self.LayerNorm(F.gelu(self.dense_to_hidden(vectors))))
        return projected
