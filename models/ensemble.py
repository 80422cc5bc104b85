"""Ensembles of trained networks, as of CheXzero's ten best checkpoints in its paper."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.errors import ModelError
from models.method import Method, ZeroShot


class Ensemble(Method):
    """The mean of its members' scores, maps and similarities. The members are trained and of one kind of query."""

    def __init__(self, members: Sequence[Method]) -> None:
        super().__init__()
        if not members:
            raise ModelError("an ensemble needs at least one trained network")
        kinds = {member.query_kind for member in members}
        if len(kinds) > 1:
            raise ModelError("the networks of an ensemble have to take the same kind of query, labels or entities")
        (self.query_kind,) = kinds
        self.members: nn.ModuleList = nn.ModuleList(members)

    def zero_shot(self, images: Tensor, queries: Sequence[str]) -> ZeroShot:
        """Mean scores (batch, queries) and mean maps (batch, queries, grid, grid)."""
        predictions = [member.zero_shot(images, queries) for member in self._methods()]
        if len({prediction.maps.shape for prediction in predictions}) > 1:
            raise ModelError("an ensemble needs networks whose maps are of one size")
        scores = torch.stack([prediction.scores for prediction in predictions]).mean(0)
        return ZeroShot(scores, torch.stack([prediction.maps for prediction in predictions]).mean(0))

    def similarity(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """(batch, texts), the mean."""
        return torch.stack([member.similarity(images, texts) for member in self._methods()]).mean(0)

    def image_features(self, images: Tensor) -> Tensor:
        """(batch, dim): those of all members, side by side."""
        return torch.cat([member.image_features(images) for member in self._methods()], dim=-1)

    def _methods(self) -> Sequence[Method]:
        return list(self.members)  # type: ignore[arg-type]
