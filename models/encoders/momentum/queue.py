"""A queue of keys from earlier steps, which serve as negatives (He et al., arXiv 1911.05722, section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class KeyQueue(nn.Module):
    """The last `size` keys, of unit length, as buffers: they are part of a checkpoint.

    It begins with random directions. Keys of a step wait until `write`, so that all batches of a step see one queue.
    The number of keys need not divide `size`; MoCo's released code demands that it does.
    """

    keys: Tensor  # (size, dim)
    place: Tensor  # int64 scalar: the row that is written next

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(size, dim), dim=-1))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))
        self._waiting: list[Tensor] = []

    def add(self, keys: Tensor) -> None:
        """Keys (batch, dim) of all processes, to be written at the end of the step."""
        self._waiting.append(keys.detach())

    @torch.no_grad()
    def write(self) -> None:
        """Put the waiting keys in the place of the oldest ones, in their order; of too many the last ones stay."""
        if not self._waiting:
            return
        new, size = torch.cat(self._waiting), len(self.keys)
        self._waiting.clear()
        rows = torch.arange(len(new), device=new.device)[-size:]
        self.keys[(self.place + rows) % size] = new[-size:].to(self.keys.dtype)
        self.place.add_(len(new)).remainder_(size)
