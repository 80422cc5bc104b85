"""MoCo's checkpoints, v1 and v2 (He et al., CVPR 2020; github.com/facebookresearch/moco): an image tower."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.released.files.containers import Content
from models.released.opening import Converted
from models.released.parts.pretext import ReleasedTower, describe_tower
from models.released.parts.states import under, weights_of

SOURCE = "He et al., MoCo, CVPR 2020, arXiv 1911.05722 and 2003.04297; github.com/facebookresearch/moco"
LICENCE = "The code is MIT; ask whoever trained the weights about theirs."
QUERY = "encoder_q."
PARALLEL = "module."
# The moving average of the query's encoder has weights of the same names, which transfer never takes.
TRAINING = ("encoder_k.", "queue", "queue_ptr")


class ReleasedMoco(ReleasedTower):
    """The encoder of queries."""


def recognises(content: Content) -> bool:
    """Whether there is an encoder of queries with the names of a ResNet."""
    return f"{QUERY}conv1.weight" in _named(content)


def convert(content: Content, texts: Path | None) -> Converted:
    """The file; it needs no `texts`."""
    found = _named(content)
    settings, state = describe_tower(under(found, QUERY))
    return Converted(
        settings, state | {name: tensor for name, tensor in found.items() if not name.startswith((QUERY, *TRAINING))}
    )


def build(settings: Mapping[str, Any]) -> ReleasedMoco:
    """The network of a checkpoint's settings."""
    return ReleasedMoco(settings)


def _named(content: Content) -> Mapping[str, Any]:
    return {name.removeprefix(PARALLEL): tensor for name, tensor in weights_of(content, "state_dict").items()}
