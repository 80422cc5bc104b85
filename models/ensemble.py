"""Several trained networks that answer together, as CheXzero's ten best checkpoints do in its paper."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.method import Method, ZeroShot


class Ensemble(Method):
    """The mean of what its `members` say: of scores, maps and similarities. They are of one kind and trained."""

    def __init__(self, members: Sequence[Method]) -> None:
        super().__init__()
        if not members:
            raise ValueError("an ensemble needs at least one trained network")
        kinds = {member.query_kind for member in members}
        if len(kinds) > 1:
            raise ValueError("an ensemble cannot ask some of its networks for labels and others for entities")
        (self.query_kind,) = kinds
        self.members: nn.ModuleList = nn.ModuleList(members)

    def zero_shot(self, images: Tensor, queries: Sequence[str]) -> ZeroShot:
        """Mean scores (batch, queries) and mean maps (batch, queries, grid, grid)."""
        answers = [member.zero_shot(images, queries) for member in self._methods()]
        if len({answer.maps.shape for answer in answers}) > 1:
            raise ValueError("an ensemble needs networks whose maps are of one size")
        scores = torch.stack([answer.scores for answer in answers]).mean(0)
        return ZeroShot(scores, torch.stack([answer.maps for answer in answers]).mean(0))

    def similarity(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """(batch, texts), the mean."""
        return torch.stack([member.similarity(images, texts) for member in self._methods()]).mean(0)

    def image_features(self, images: Tensor) -> Tensor:
        """(batch, dim): those of all members, side by side."""
        return torch.cat([member.image_features(images) for member in self._methods()], dim=-1)

    def _methods(self) -> Sequence[Method]:
        return list(self.members)  # type: ignore[arg-type]
