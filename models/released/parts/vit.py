"""Vision transformers in timm's and DeiT's names, of whatever sizes a file has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from models.encoders.image import HEAD_WIDTH, class_attention
from models.errors import ModelError
from models.released.parts.resnet import COLOURS
from models.released.parts.states import count, size


def describe_vit(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Sizes of a transformer with a class token from its weights, for `vit`."""
    width, patch = size(state, "pos_embed", 2), size(state, "patch_embed.proj.weight", 3)
    side = math.isqrt(size(state, "pos_embed", 1) - 1)
    if side * side + 1 != state["pos_embed"].shape[1]:
        raise ModelError(
            f"`pos_embed` has {state['pos_embed'].shape[1]} positions, which are no square and a class token"
        )
    heads = max(1, width // HEAD_WIDTH)
    if width % heads:
        raise ModelError(f"a transformer's width {width} cannot be shared among {heads} heads")
    if (colours := size(state, "patch_embed.proj.weight", 1)) != COLOURS:
        raise ModelError(f"`patch_embed.proj.weight` takes {colours} channels, and the authors' films have {COLOURS}")
    return {
        "image_size": side * patch,
        "patch": patch,
        "width": width,
        "depth": count(state, "blocks."),
        "inner": size(state, "blocks.0.mlp.fc1.weight"),
    }


def vit(image_size: int, patch: int, width: int, depth: int, inner: int) -> VisionTransformer:
    """timm's, without a classifier, with random weights."""
    return VisionTransformer(
        img_size=image_size, patch_size=patch, in_chans=COLOURS, num_classes=0, embed_dim=width, depth=depth,
        num_heads=max(1, width // HEAD_WIDTH), mlp_ratio=inner / width,
    )  # fmt: skip


def vit_tokens(network: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Class token (batch, width) and patches (batch, patches, width), after the last norm."""
    tokens = network.forward_features(pixels)
    return tokens[:, 0], tokens[:, 1:]


def patch_attention(network: Any, pixels: Tensor) -> Tensor:
    """(batch, patches) attention of the class token in the last block, mean over the heads."""
    inputs: list[Tensor] = []
    attend = network.blocks[-1].attn
    hook = attend.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    network.forward_features(pixels)
    hook.remove()
    return class_attention(attend, inputs[0])[:, 1:]
