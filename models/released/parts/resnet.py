"""Residual networks with three-channel stems and torchvision's names, of whatever widths a file has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import timm
import torch.nn.functional as F
from torch import Tensor, nn

from models.errors import ModelError
from models.released.parts.states import size

BASE = 64  # planes of a bottleneck for each 64 of `base_width`
CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}  # in a Sequential
EXPANSION = 4  # of a bottleneck
COLOURS = 3  # channels that the authors make of a grey film
LOCAL = 3  # the stage whose places GLoRIA and MGCA compare with words


def named_children(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of a ResNet's children by their index in a Sequential (`4.0.conv1.weight`) -> torchvision's names."""
    found = {}
    for key, tensor in state.items():
        index, dot, rest = key.partition(".")
        if index not in CHILDREN or not dot:
            raise ModelError(f"`{key}` is no weight of a residual network")
        found[f"{CHILDREN[index]}.{rest}"] = tensor
    return found


def describe_resnet(state: Mapping[str, Tensor], channels: int = 0) -> dict[str, Any]:
    """Blocks and widths of a network from the weights in torchvision's names, for `resnet`.

    ModelError where its films have not as many `channels`, if those are given.
    """
    numbers: dict[int, set[str]] = {}
    for key in state:
        if match := re.match(r"layer([1-4])\.(\d+)\.", key):
            numbers.setdefault(int(match[1]), set()).add(match[2])
    blocks = {stage: len(found) for stage, found in numbers.items()}
    basic = not any(".conv3." in key for key in state)
    last, expansion = ("conv2", 1) if basic else ("conv3", EXPANSION)
    planes = [size(state, f"layer{stage}.0.{last}.weight") // expansion for stage in sorted(blocks)]
    inner, per_group = (size(state, "layer1.0.conv2.weight", axis) for axis in (0, 1))
    groups = 1 if basic else max(1, inner // max(1, per_group))
    stem = size(state, "conv1.weight", 1)
    if min(planes, default=0) < 1:
        raise ModelError("the residual network has a stage without channels")
    if channels and stem != channels:
        raise ModelError(f"`conv1.weight` takes {stem} channels, and the authors' films have {channels}")
    return {
        "blocks": [blocks[stage] for stage in sorted(blocks)],
        "planes": planes,
        "base_width": BASE if basic else BASE * inner // planes[0] // groups,
        "channels": stem,
        "groups": groups,
        "basic": basic,
    }


def resnet(
    blocks: list[int], planes: list[int], base_width: int, channels: int = 3, classes: int = 0, groups: int = 1,
    basic: bool = False,
) -> Any:  # fmt: skip
    """timm's network of bottlenecks without its classifier (`classes` 0), with random weights.

    `groups` is that of ResNeXt's convolutions; `basic` makes the blocks of ResNet-18 and 34, of two convolutions. With
    fewer than four stages the network ends with the last of them: `forward_features` gives its map.
    """
    network: Any = timm.create_model(
        "resnet18" if basic else "resnet50", pretrained=False, num_classes=classes, in_chans=channels,
        layers=tuple(blocks + [1] * (4 - len(blocks))), channels=tuple(planes + [planes[-1]] * (4 - len(planes))),
        base_width=base_width, cardinality=groups,
    )  # fmt: skip
    for stage in range(len(blocks) + 1, 5):
        setattr(network, f"layer{stage}", nn.Identity())
    return network


def enlarge(pixels: Tensor, side: int) -> Tensor:
    """(batch, channels, side, side): bilinear, corners on corners, as GLoRIA and MGCA do before a residual network."""
    return F.interpolate(pixels, size=(side, side), mode="bilinear", align_corners=True)


def residual_stages(network: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The pooled last stage (batch, channels), and the map (batch, channels, rows, columns) of the third."""
    last, (local,) = network.forward_intermediates(pixels, indices=[LOCAL])
    return last.mean((2, 3)), local


def residual_maps(network: Any, pixels: Tensor) -> list[Tensor]:
    """Maps (batch, channels, rows, columns) of the stem and of every stage that the network has, fine to coarse."""
    maps = network.forward_intermediates(pixels, intermediates_only=True)
    return [
        found
        for number, found in enumerate(maps)
        if not isinstance(getattr(network, f"layer{number}", None), nn.Identity)
    ]
