"""Losses are computed in float32 at least, whatever the precision of the network before them."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """`tensor` in float32, or as it is in float64; products of it need autocast to be off (see `info_nce`)."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
