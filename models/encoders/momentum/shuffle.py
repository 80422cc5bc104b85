"""MoCo's shuffled batch norm (He et al., arXiv 1911.05722, section 3.3).

Where each process has batch norm of its own, queries and keys of the same images share their statistics, and that
betrays which key belongs to a query. So the rows of all processes are mixed before they are encoded, and put back in
order behind. One process, and batch norm over all processes, have no use for it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.distributed import gather, rank, world_size
from models.encoders.batch_norm import SharedBatchNorm


def encode_keys(network: nn.Module, encode: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """`encode(images)`, on rows of all processes where batch norm in `network` has statistics of each process."""
    return encode_shuffled(encode, images) if has_own_statistics(network) else encode(images)


def has_own_statistics(network: nn.Module) -> bool:
    """Whether a batch norm of `network` is in training on this process's rows alone, one of several processes."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    return world_size() > 1 and any(norm.training and not isinstance(norm, SharedBatchNorm) for norm in norms)


def encode_shuffled(encode: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """`encode` of as many rows of all processes as `images` (batch, ...) has, by one permutation for all.

    Every process draws, so that their generators stay together; the first one's permutation counts.
    """
    everyone = gather(images)
    order = torch.randperm(len(everyone)).to(images.device)
    dist.broadcast(order, 0)
    mixed = gather(encode(everyone[order.chunk(world_size())[rank()]]))
    return mixed[order.argsort()].chunk(world_size())[rank()]
