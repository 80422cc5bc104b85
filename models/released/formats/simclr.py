"""SimCLR's checkpoints as github.com/sthalles/SimCLR writes them (Chen et al., ICML 2020): an image tower."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.released.files.containers import Content
from models.released.opening import Converted
from models.released.parts.pretext import ReleasedTower, describe_tower
from models.released.parts.states import under, weights_of

SOURCE = "Chen et al., SimCLR, ICML 2020, arXiv 2002.05709, by github.com/sthalles/SimCLR"
LICENCE = "The code is MIT; ask whoever trained the weights about theirs."
BACKBONE = "backbone."


class ReleasedSimclr(ReleasedTower):
    """The network, whose `fc` is the head of its training."""


def recognises(content: Content) -> bool:
    """Whether all of the file's state is a ResNet called `backbone`, with a head of two layers."""
    names = weights_of(content, "state_dict") if "state_dict" in content else {}
    return {f"{BACKBONE}conv1.weight", f"{BACKBONE}fc.0.weight"} <= set(names)


def convert(content: Content, texts: Path | None) -> Converted:
    """The file; it needs no `texts`."""
    found = weights_of(content, "state_dict")
    settings, state = describe_tower(under(found, BACKBONE))
    return Converted(settings, state | {name: value for name, value in found.items() if not name.startswith(BACKBONE)})


def build(settings: Mapping[str, Any]) -> ReleasedSimclr:
    """The network of a checkpoint's settings."""
    return ReleasedSimclr(settings)
