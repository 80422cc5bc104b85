"""Swin towers of transformers, from weights in the names of its versions 4."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isqrt
from typing import Any

from torch import Tensor

from models.errors import ModelError
from models.released.parts.states import count, size

NAMES = (
    ("attention.output.dense.", "attention.o_proj."),  # before `output.dense`, which ends it
    ("attention.self.query.", "attention.q_proj."),
    ("attention.self.key.", "attention.k_proj."),
    ("attention.self.value.", "attention.v_proj."),
    (
        "attention.self.relative_position_bias_table",
        "attention.relative_position_bias.relative_position_bias_table",
    ),
    ("intermediate.dense.", "mlp.fc1."),
    ("output.dense.", "mlp.fc2."),
)
INDEX = "relative_position_index"  # follows from the size of the window
BLOCKS = "encoder.layers.{}.blocks."


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights in the names of transformers 5, without tables that are no weights."""
    found = {}
    for name, tensor in state.items():
        for old, new in NAMES:
            if f".{old}" in name:
                name = name.replace(f".{old}", f".{new}")
                break
        if not name.endswith(INDEX):
            found[name] = tensor
    return found


def describe_swin(state: Mapping[str, Tensor], image_size: int) -> dict[str, Any]:
    """What `swin` needs, from weights in either version's names."""
    stages = count(state, "encoder.layers.")
    depths = [count(state, BLOCKS.format(stage)) for stage in range(stages)]
    if not depths or not all(depths):
        raise ModelError("the image tower lacks the blocks of a Swin transformer")
    tables = [_table(state, stage) for stage in range(stages)]
    width = size(state, "embeddings.patch_embeddings.projection.weight")
    inner = next(
        (name for name in state if re.search(r"layers\.0\.blocks\.0\.(intermediate.dense|mlp.fc1).weight", name)), ""
    )
    return {
        "image_size": image_size,
        "patch_size": size(state, "embeddings.patch_embeddings.projection.weight", 2),
        "num_channels": size(state, "embeddings.patch_embeddings.projection.weight", 1),
        "embed_dim": width,
        "depths": depths,
        "num_heads": [size(state, table, 1) for table in tables],
        "window_size": (isqrt(size(state, tables[0])) + 1) // 2,
        "mlp_ratio": size(state, inner) / width,
    }


def swin(fields: Mapping[str, Any]) -> Any:
    """transformers' SwinModel with random weights; its pooled vector is the mean of the last map's places."""
    from transformers import SwinConfig, SwinModel

    return SwinModel(SwinConfig(**fields))


def _table(state: Mapping[str, Tensor], stage: int) -> str:
    for name in state:
        if name.startswith(BLOCKS.format(stage) + "0.") and name.endswith("relative_position_bias_table"):
            return name
    raise ModelError(f"stage {stage} of the Swin transformer lacks its table of relative positions")
