"""What every pretraining method can do, and what the loop, the evaluation and the assets may rely on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    """One step's pairs, as the loader gives them after augmentation."""

    images: Tensor  # (batch, 1, size, size) float, normalised
    targets: Tensor  # (batch, positions, entities) int8: 1 present, 0 absent, -1 not mentioned


@dataclass(frozen=True)
class ZeroShot:
    """Zero-shot answers to queries."""

    scores: Tensor  # (batch, queries) in 0..1, higher = more likely present
    maps: Tensor  # (batch, queries, grid, grid) attention of each query over the image, non-negative


class Method(nn.Module):
    """A pretraining method: named loss terms of a batch, and whatever zero-shot answers it has."""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Scalar loss terms by name; their sum is minimised."""
        raise NotImplementedError

    def zero_shot(self, images: Tensor, queries: list[str]) -> ZeroShot:
        """Score and locate `queries` in 8-bit images (batch, 1, size, size)."""
        raise NotImplementedError(f"{type(self).__name__} has no zero-shot classification")

    @property
    def facts(self) -> dict[str, Any]:
        """Sizes worth recording with a run."""
        counts = {True: 0, False: 0}
        for parameter in self.parameters():
            counts[parameter.requires_grad] += parameter.numel()
        return {"parameters": counts[True] + counts[False], "trainable_parameters": counts[True]}
