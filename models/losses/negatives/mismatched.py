"""Which text takes the place of an image's own: a derangement of the batch that avoids texts of the same words."""

from __future__ import annotations

import torch
from torch import Tensor


def mismatched(groups: Tensor) -> tuple[Tensor, Tensor]:
    """For each row another one, each taken once: rows (batch,), and whether that one is of another group (batch,) bool.

    `groups` (batch,) int64 are equal where texts are. The order is drawn at random with the CPU's generator; texts of a
    group stay together in it, and each row gets the one that is as many places on as the largest group is long. So no
    row gets its own group, as long as that group has at most half of the rows; else as few rows as possible do.
    """
    count, device = len(groups), groups.device
    if not count:
        return groups, groups.bool()
    same = groups[:, None] == groups
    places = torch.arange(count, device=device)
    first = torch.where(same, places, count).amin(1)  # of each row's group
    shuffled = torch.randperm(count).to(device)
    order = shuffled[torch.randperm(count).to(device)[first][shuffled].argsort(stable=True)]
    chosen = torch.empty_like(order)
    chosen[order] = order[(places + same.sum(1).max()) % count]
    return chosen, groups[chosen] != groups
