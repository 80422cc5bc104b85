"""FSDP for large encoders: each process keeps a part of their weights, gradients and optimizer state.

Sharded are the blocks of the transformers, where nearly all of a large encoder's weights are; a block is whole while it
computes (torch's FSDP2: Zhao et al., 2023, arXiv 2304.11277). All else, heads, temperatures, prototypes, residual
networks, is whole on every process: methods read and write it where they like.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map

from models.distributed import rank
from training.errors import TrainingError


def shard_blocks(objective: nn.Module) -> list[str]:
    """Shard the encoders' blocks in place; returns the names of the parameters that are now in parts."""
    blocks = list(_blocks(objective))
    if not blocks:
        raise TrainingError(
            "training option `fsdp` shards the blocks of transformers, and no encoder of this method has more than "
            "one; switch it off"
        )
    for block in blocks:
        fully_shard(block)
    names = [name for name, parameter in objective.named_parameters() if isinstance(parameter, DTensor)]
    fully_shard(objective, ignored_params={p for p in objective.parameters() if not isinstance(p, DTensor)})
    return names


def _blocks(network: nn.Module) -> Iterator[nn.Module]:
    """Of every stack of attention blocks all but the last: methods read its attention after it has computed."""
    for stack in network.modules():
        if isinstance(stack, (nn.ModuleList, nn.Sequential)):
            yield from [block for block in stack if hasattr(block, "attn") or hasattr(block, "attention")][:-1]


def gather_whole(state: Any) -> Any:
    """Nested dicts and lists with sharded tensors put together: on the first process, but all have to call this."""
    return tree_map(_put_together, state)


def _put_together(value: Any) -> Any:
    if not isinstance(value, DTensor):
        return value
    tensor = value.full_tensor()
    return tensor.cpu() if rank() == 0 else tensor.new_empty(0)


def take_part_like(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's part of `tensor` if `like`, of the same shape, is sharded; else `tensor`."""
    if not isinstance(like, DTensor):
        return tensor
    part: Tensor = distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)
    return part.clone()  # it is a view, which would keep the whole in memory
