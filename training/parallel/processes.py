"""Joining the processes of one run, as torchrun starts them; a run without torchrun is one process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from models.distributed import world_size
from models.encoders.batch_norm import share_batch_norm
from store.errors import UserError
from training.config import TrainingConfig
from training.errors import TrainingError
from training.objective import Objective
from training.parallel.group import Group, is_broken, open_store
from training.parallel.sharding import shard_blocks

PATIENCE = 600.0  # seconds without a word of another process, after which it is given up

JOINING = 60.0  # seconds in which a process starts

_joined: list[Group] = []  # the group that this process is in, so that a block within another is in the same one


@contextmanager
def process_group(seconds: float = PATIENCE) -> Iterator[Group]:
    """Join the processes that torchrun started, if it did; yields this process's place among them.

    Processes speak NCCL where there are GPUs, one for each, and gloo where there are none. Who hears nothing of another
    for so many `seconds` gives up, as does who loses the connection.

    Raises:
        PeerLostError: another process has gone.
        TrainingError: another process has failed, with the sentence that it left.
    """
    if _joined:
        yield _joined[-1]
        return
    device = own_device()
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if size == 1 or dist.is_initialized():
        yield Group(device)
        return
    group = Group(device)
    try:
        # twice the time: the first process may wait as long for a trainer before it that is being given up
        store = open_store(rank, size, 2 * seconds + JOINING)
        group = Group(device, store, rank, size)
        backend = "nccl" if device.type == "cuda" else "gloo"
        group.together(lambda: None)
        limit = timedelta(seconds=seconds)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=limit)
        _joined.append(group)
        yield group
    except UserError as error:
        group.report(error)
        raise
    except RuntimeError as error:
        if not is_broken(error):
            raise
        raise group.explain(error) from error
    finally:
        _joined.clear()
        if dist.is_initialized():
            dist.destroy_process_group()


def own_device() -> torch.device:
    """The GPU of this process, or the CPU."""
    local = int(os.environ.get("LOCAL_RANK", 0))
    if torch.cuda.is_available() and local >= torch.cuda.device_count():
        raise TrainingError(
            f"torchrun started more processes than this machine's {torch.cuda.device_count()} GPUs; lower "
            "--nproc-per-node"
        )
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def share(objective: Objective, config: TrainingConfig, device: torch.device) -> nn.Module:
    """`objective` as one of the processes trains it: gradients are averaged in the backward pass.

    Terms and encoders that a configuration switches off leave parameters without gradient, hence the search for them.
    With `fsdp` the encoders' blocks average their own gradients, each process its part.
    """
    config.expect_division(world_size())
    if world_size() == 1:
        return objective
    if config.sync_batch_norm:
        share_batch_norm(objective)
    if config.fsdp:  # DDP has no public way to leave parameters out
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(objective, shard_blocks(objective))
    return DistributedDataParallel(objective, find_unused_parameters=True, gradient_as_bucket_view=True)
