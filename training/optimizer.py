"""The optimizer a configuration asks for, fused into few kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from training.config import TrainingConfig


def build_optimizer(method: nn.Module, config: TrainingConfig) -> Optimizer:
    """AdamW, Adam or SGD over the trained parameters of `method`; the loop sets the learning rate of each step."""
    groups = parameter_groups(method, config.weight_decay)
    if config.optimizer == "sgd":
        return SGD(groups, lr=config.learning_rate, momentum=config.momentum, fused=True)
    kind = AdamW if config.optimizer == "adamw" else Adam
    return kind(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True)


def parameter_groups(method: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices only: biases and norms are left alone."""
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.ndim > 1]
    others = [parameter for parameter in trained if parameter.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def clip_gradients(method: nn.Module, limit: float) -> torch.Tensor:
    """Scale the gradients to a norm of at most `limit` (0: leave them); returns the norm before, a scalar."""
    return nn.utils.clip_grad_norm_(method.parameters(), limit or float("inf"))
