"""The processes of one run, as torchrun starts them; a run without torchrun is one process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from models.distributed import world_size
from models.encoders.batch_norm import share_batch_norm
from training.config import TrainingConfig
from training.errors import TrainingError
from training.objective import Objective
from training.parallel.sharding import shard_blocks


@contextmanager
def process_group() -> Iterator[torch.device]:
    """Join the processes that torchrun started, if it did; yields this process's device.

    Processes speak NCCL where there are GPUs, one for each, and gloo where there are none.
    """
    local = int(os.environ.get("LOCAL_RANK", 0))
    if torch.cuda.is_available() and local >= torch.cuda.device_count():
        raise TrainingError(
            f"torchrun started more processes than this machine's {torch.cuda.device_count()} GPUs; lower "
            "--nproc-per-node"
        )
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    joins = int(os.environ.get("WORLD_SIZE", 1)) > 1 and not dist.is_initialized()
    if joins:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        if joins:
            dist.destroy_process_group()


def share(objective: Objective, config: TrainingConfig, device: torch.device) -> nn.Module:
    """`objective` as one of the processes trains it: gradients are averaged in the backward pass.

    Terms and encoders that a configuration switches off leave parameters without gradient, hence the search for them.
    With `fsdp` the encoders' blocks average their own gradients, each process its part.
    """
    parts = world_size() * config.micro_batches
    if config.batch_size % parts:
        raise TrainingError(
            f"training option `batch_size` is {config.batch_size}, but must be a multiple of processes times "
            f"micro_batches, {world_size()} x {config.micro_batches}"
        )
    if world_size() == 1:
        return objective
    if config.sync_batch_norm:
        share_batch_norm(objective)
    if config.fsdp:  # DDP has no public way to leave parameters out
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(objective, shard_blocks(objective))
    return DistributedDataParallel(objective, find_unused_parameters=True, gradient_as_bucket_view=True)
