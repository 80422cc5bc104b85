"""Image towers that a pretext task trained, without texts: a residual network and the head of the task."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from models.released.network import ReleasedNetwork
from models.released.parts.films import IMAGENET_MEAN, IMAGENET_STD, centre, normalise, shorter_side
from models.released.parts.resnet import COLOURS, describe_resnet, residual_maps, resnet
from models.released.parts.states import size

WHOLE, CROP = 256, 224
HEAD = "fc."
LAYER = re.compile(r"fc\.(\d\.)?weight")


class ReleasedTower(ReleasedNetwork):
    """A network for features; it has no words. Films are prepared as ImageNet's images are for tests."""

    size = WHOLE

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.backbone = resnet(**settings["backbone"])
        layers: list[nn.Module] = []
        width = self.backbone.num_features
        for outer in settings["head"]:
            layers += [nn.ReLU()] if layers else []
            layers.append(nn.Linear(width, outer))
            width = outer
        self.fc = layers[0] if settings["linear"] else nn.Sequential(*layers)

    def film(self, film: np.ndarray) -> Tensor:
        """(3, 224, 224): the shorter side to `size`, the middle cut out, normalised by ImageNet's channels."""
        return normalise(centre(shorter_side(film, self.size), CROP), IMAGENET_MEAN, IMAGENET_STD)

    def whole_film(self, film: np.ndarray) -> Tensor:
        """(3, rows, columns): without the cut."""
        return normalise(shorter_side(film, self.size), IMAGENET_MEAN, IMAGENET_STD)

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
        return residual_maps(self.backbone, self.prepare_whole(images))


def describe_tower(found: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and weights of `ReleasedTower`, from those of a ResNet whose `fc` is its head."""
    heads = {name for name in found if name.startswith(HEAD)}
    backbone = {name: tensor for name, tensor in found.items() if name not in heads}
    layers = sorted(name for name in heads if LAYER.fullmatch(name))
    settings = {
        "backbone": describe_resnet(backbone, COLOURS),
        "head": [size(found, name) for name in layers],
        "linear": layers == [f"{HEAD}weight"],
    }
    state = {f"backbone.{name}": tensor for name, tensor in backbone.items()}
    return settings, state | {name: found[name] for name in heads}
