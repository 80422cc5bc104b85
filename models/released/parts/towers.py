"""Image towers that a method released in two kinds: a ResNet, or a Swin transformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from models.released.parts.resnet import describe_resnet, residual_maps, resnet
from models.released.parts.swin import describe_swin, renamed, swin

RESNET, SWIN = "resnet", "swin"
SIZE = 224


def describe_tower(kind: str, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `ImageTower` needs, and its weights, from those of a file in torchvision's or transformers' names."""
    if kind == RESNET:
        return {"kind": kind, "fields": describe_resnet(state)}, dict(state)
    return {"kind": kind, "fields": describe_swin(state, SIZE)}, renamed(state)


class ImageTower(nn.Module):
    """Maps of one of the two kinds."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.kind: str = settings["kind"]
        self.network = resnet(**settings["fields"]) if self.kind == RESNET else swin(settings["fields"])
        self.width = int(self.network.num_features)

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, width, rows, columns) of the last stage, of a Swin transformer after its norm."""
        if self.kind == RESNET:
            found: Tensor = self.network.forward_features(pixels)
            return found
        return self._swin(pixels)[-1]

    def maps(self, pixels: Tensor) -> list[Tensor]:
        """Maps (batch, channels, rows, columns), fine to coarse."""
        return residual_maps(self.network, pixels) if self.kind == RESNET else self._swin(pixels)

    def _swin(self, pixels: Tensor) -> list[Tensor]:
        output = self.network(pixels, output_hidden_states=True)
        *maps, last = output.reshaped_hidden_states[:-1]
        return [*maps, output.last_hidden_state.mT.unflatten(-1, last.shape[-2:])]
