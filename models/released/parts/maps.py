"""Maps of a network that sees the middle of a film, on the whole of it."""

from __future__ import annotations

from fractions import Fraction

import torch.nn.functional as F
from torch import Tensor


def on_whole(maps: Tensor, middle: int, whole: int, shared: bool = False) -> Tensor:
    """(..., cells, cells) over the middle of a square -> (..., more, more) over the whole square, 0 in the margin.

    The sides are in pixels. Cells are split so that the margin is of whole cells; with `shared` the parts of a cell
    share its value, so that the sum of a map stays.
    """
    margin = Fraction((whole - middle) * maps.shape[-1], 2 * middle)
    parts = margin.denominator
    fine = maps.repeat_interleave(parts, -1).repeat_interleave(parts, -2)
    return F.pad(fine / parts**2 if shared else fine, [margin.numerator] * 4)
