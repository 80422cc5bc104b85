"""CLIP's residual image towers (Radford et al., arXiv 2103.00020, section 2.4), built from open_clip's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor

from models.encoders.image import ImageFeatures
from models.errors import ModelError
from models.released.parts.states import count, size

STAGES = 4
STRIDE = 32  # pixels per place
WIDER = 32  # the channels of the last stage, times those of the stem
HEAD_WIDTH = 64
POSITIONS = "attnpool.positional_embedding"


class ClipResNet(ModifiedResNet):
    """The network, whose attention pool ends in the space shared with texts: there is no projection behind it.

    The places are the last stage's, through the values and the output of the pool, as in MaskCLIP (Zhou et al., ECCV
    2022).
    """

    def __init__(self, blocks: list[int], width: int, image_size: int, dim: int) -> None:
        super().__init__(list(blocks), dim, width * WIDER // HEAD_WIDTH, image_size, width)
        self.dim = self.local_dim = dim

    def forward(self, images: Tensor) -> ImageFeatures:
        """Features of normalised images (batch, 3, side, side)."""
        last = self.maps(images)[-1]
        places = self.attnpool.c_proj(self.attnpool.v_proj(last.flatten(2).mT))
        return ImageFeatures(self.attnpool(last), places, (last.shape[2], last.shape[3]))

    def maps(self, images: Tensor) -> list[Tensor]:
        """Maps (batch, channels, rows, columns) of the stem and the four stages, fine to coarse."""
        found: list[Tensor] = self.forward_intermediates(images, intermediates_only=True)["image_intermediates"]
        return found

    def project(self, features: Tensor) -> Tensor:
        """The features, which are in the shared space already."""
        return features


def describe_clip_resnet(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What `ClipResNet` needs, from its weights."""
    places, width = size(state, POSITIONS) - 1, size(state, "conv3.weight")
    side = math.isqrt(max(0, places))
    if side * side != places or places < 1:
        raise ModelError(f"`{POSITIONS}` has {places} positions of places, which are no square")
    if width * WIDER % HEAD_WIDTH:
        raise ModelError(f"an image tower of width {width} cannot be shared among heads of {HEAD_WIDTH}")
    return {
        "blocks": [count(state, f"layer{stage}.") for stage in range(1, STAGES + 1)],
        "width": width,
        "image_size": side * STRIDE,
        "dim": size(state, "attnpool.c_proj.weight"),
    }
