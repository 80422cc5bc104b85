"""Losses are computed in float32 at least, whatever the precision of the network before them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """`tensor` in float32, or as it is in float64; products of it need autocast to be off (see `info_nce`)."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def unit_rows(vectors: Tensor) -> Tensor:
    """(..., dim) of unit length, or 0 where they are 0, in float32 at least."""
    return F.normalize(at_least_float32(vectors), dim=-1)
