"""Weldon pooling (Durand et al., CVPR 2016), with which DSVE pools its maps: the most and the least active cells."""

from __future__ import annotations

from torch import Tensor


def weldon_pool(cells: Tensor, largest: int, smallest: int) -> Tensor:
    """(batch, cells, channels) -> (batch, channels): per channel, the mean of the `largest` so many activations, plus
    the mean of the `smallest` so many.

    Where there are fewer cells than that, the divisor stays, as in DSVE's released code.
    """
    total = cells.new_zeros(cells.shape[0], cells.shape[2])
    for count, from_above in ((largest, True), (smallest, False)):
        if count:
            chosen = cells.topk(min(count, cells.shape[1]), dim=1, largest=from_above).values
            total = total + chosen.sum(1) / count
    return total
