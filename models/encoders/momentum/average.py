"""A network whose parameters are a moving average of another's (He et al., arXiv 1911.05722, equation 2)."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def follower_of(network: Network) -> Network:
    """A copy of `network` that no gradient reaches; `follow` moves it."""
    return deepcopy(network).requires_grad_(False)


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, momentum: float) -> None:
    """Average becomes momentum * average + (1 - momentum) * network, parameter by parameter, in place.

    Buffers are left alone: the statistics of batch norm are those of what the follower itself has seen, as in MoCo's
    released code.
    """
    for mean, value in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(value.to(mean.dtype), 1 - momentum)
