"""Image towers that a pretext task trained, without texts: a residual network and the head of the task."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from models.released.network import ReleasedNetwork
from models.released.parts.films import IMAGENET_MEAN, IMAGENET_STD, centre, normalise, shorter_side
from models.released.parts.resnet import describe_resnet, residual_maps, resnet
from models.released.parts.states import size

WHOLE, CROP = 256, 224
HEAD = "fc."


class ReleasedTower(ReleasedNetwork):
    """A network for features; it has no words. Films are prepared as ImageNet's images are for tests."""

    size = WHOLE

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.backbone = resnet(**settings["backbone"])
        layers: dict[str, nn.Module] = {
            layer: nn.Linear(inner, outer) for layer, (outer, inner) in settings["head"].items()
        }
        last = max((int(layer) for layer in layers if layer), default=-1)
        several = nn.Sequential(*(layers.get(str(layer), nn.ReLU()) for layer in range(last + 1)))
        self.fc = layers.get("", several)

    def film(self, film: np.ndarray) -> Tensor:
        """(3, 224, 224): the shorter side to 256, the middle cut out, normalised by ImageNet's channels."""
        return normalise(centre(shorter_side(film, WHOLE), CROP), IMAGENET_MEAN, IMAGENET_STD)

    def features(self, pixels: Tensor) -> Tensor:
        """(batch, channels, rows, columns) of the last stage, of the network's input."""
        found: Tensor = self.backbone.forward_features(pixels)
        return found

    def project(self, pooled: Tensor) -> Tensor:
        """(batch, channels) -> (batch, dim): through the head, which transfer leaves out."""
        projected: Tensor = self.fc(pooled)
        return projected

    def image_features(self, images: Tensor) -> Tensor:
        """(batch, channels) mean of the last stage."""
        return self.features(self.prepare(images)).mean((2, 3))

    def image_maps(self, images: Tensor) -> list[Tensor]:
        """Maps (batch, channels, rows, columns) of the residual network, fine to coarse."""
        return residual_maps(self.backbone, self.prepare(images))


def describe_tower(found: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and weights of `ReleasedTower`, from those of a ResNet whose `fc` is its head."""
    heads = {name for name in found if name.startswith(HEAD)}
    backbone = {name: tensor for name, tensor in found.items() if name not in heads}
    layers = {
        match[1] or "": name for name in sorted(heads) if (match := re.fullmatch(r"fc\.(?:(\d+)\.)?weight", name))
    }
    settings = {
        "backbone": describe_resnet(backbone),
        "head": {layer: [size(found, name), size(found, name, 1)] for layer, name in layers.items()},
    }
    state = {f"backbone.{name}": tensor for name, tensor in backbone.items()}
    return settings, state | {name: found[name] for name in heads}
