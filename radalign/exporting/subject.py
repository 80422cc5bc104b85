"""The network that is exported, and what all targets need to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.saved import ModelCard
from radalign.exporting.preparation import Preparation, preparing_tensors
from radalign.exporting.towers import NotExportableError, TimmTower, difference, find_tower

SAME = 1e-5  # relative; what is the same in float32 differs by 1e-7 to 1e-6, in deep transformers most


@dataclass(frozen=True)
class Subject:
    """A network in float32 on the CPU, in evaluation mode."""

    network: Any
    card: ModelCard
    preparation: Preparation
    weights: Path  # the file that they are from
    findings: tuple[str, ...] = ()  # whose scores a graph gives, in the user's words
    queries: tuple[str, ...] = ()  # what the network is asked for them

    @cached_property
    def tower(self) -> TimmTower:
        """The image encoder in timm's terms; NotExportableError where it has none."""
        return find_tower(self.network, self.preparation)

    @torch.inference_mode()
    def image_features(self, grey: Tensor) -> Tensor:
        """(batch, dim) of squares (batch, 1, seen, seen) of grey levels."""
        with preparing_tensors(self.network, self.preparation):
            features: Tensor = self.network.image_features(grey)
        return features

    @torch.inference_mode()
    def embed_images(self, grey: Tensor) -> Tensor | None:
        """(batch, dim) of length 1 in the space shared with texts, where there is one."""
        with preparing_tensors(self.network, self.preparation):
            try:
                vectors: Tensor = self.network.embed_images(grey)
            except NotImplementedError:
                return None
        return vectors


@dataclass(frozen=True)
class Written:
    """What a target wrote, for the model card."""

    load: str  # Python that opens it with the other project's tools
    library: str  # name of the library as model hubs know it
    differences: dict[str, float]  # from our numbers, relative, by what was compared
    notes: tuple[str, ...] = ()  # sentences


def expect_same(found: Tensor, wanted: Tensor, what: str, tolerance: float = SAME) -> float:
    """The relative difference of numbers that another project's loader gives; NotExportableError beyond `tolerance`."""
    if found.shape != wanted.shape:
        raise NotExportableError(f"what was written gives {what} of another shape")
    apart = difference(found.detach().float(), wanted.detach().float())
    if not apart <= tolerance:
        raise NotExportableError(f"what was written gives {what} that differ by {apart:.1e} of the largest")
    return apart
