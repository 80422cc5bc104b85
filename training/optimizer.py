"""The optimizer of a configuration, fused into few kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.experimental import implicit_replication
from torch.optim import SGD, Adam, AdamW, Optimizer

if TYPE_CHECKING:
    from training.config import TrainingConfig


def build_optimizer(method: nn.Module, config: TrainingConfig) -> Optimizer:
    """AdamW, Adam or SGD over the trained parameters of `method`; the loop sets the learning rate of each step."""
    groups = parameter_groups(method, config.weight_decay, config.decay)
    if config.optimizer == "sgd":  # whose fused kernel does not know sharded tensors
        return SGD(groups, lr=config.learning_rate, momentum=config.momentum, fused=not config.fsdp)
    kind = AdamW if config.optimizer == "adamw" else Adam
    return kind(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True)


def parameter_groups(method: nn.Module, weight_decay: float, decay: str = "matrices") -> list[dict[str, Any]]:
    """Two groups: with weight decay, which are the matrices or all parameters, and without."""
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.ndim > 1 or decay == "all"]
    others = [parameter for parameter in trained if parameter.ndim <= 1 and decay != "all"]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def clip_gradients(method: nn.Module, limit: float) -> torch.Tensor:
    """Scale the gradients to a norm of at most `limit` (0: leave them); returns the norm before, a scalar."""
    with implicit_replication():
        norm = nn.utils.clip_grad_norm_(method.parameters(), limit or float("inf"))
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def update(optimizer: Optimizer) -> None:
    """Take the optimizer's step; sharded parameters and whole ones are together in its groups."""
    with implicit_replication():
        optimizer.step()
