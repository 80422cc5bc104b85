"""Gathering tensors over the processes of a distributed run, with gradient; one process is a run of one."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def agree(value: Any) -> Any:
    """The first process's `value`, on every process of a run."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def gather(tensor: Tensor) -> Tensor:
    """(local batch, ...) of every process, joined in the order of their ranks: (batch, ...).

    Every process has to bring the same shape. Gradients flow back to the process a row came from, summed over all that
    used it: where each process computes the same loss of the whole batch, averaging parameter gradients over the
    processes (as DDP does) gives exactly the gradient of one process with the whole batch.
    """
    if world_size() == 1:
        return tensor
    return _Gather.apply(tensor)  # type: ignore[no-any-return,no-untyped-call]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(world_size())]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(world_size())[rank()]
