"""The learning rate, and when to stop, as pure functions of the step and of the validation losses so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

from training.config import TrainingConfig

THRESHOLD = 1e-4  # share of the lowest loss by which another has to be lower
SMALLEST_FALL = 1e-8  # of a learning rate


def learning_rate(
    config: TrainingConfig, step: int, steps: int, per_epoch: float, losses: Sequence[float] = ()
) -> float:
    """The rate of `step` (from 0) of `steps`, `per_epoch` of them in an epoch; `losses`: validation, one per epoch."""
    if config.schedule == "staircase":
        return _staircase(config, step, steps, per_epoch)
    warmup = min(round(config.warmup_epochs * per_epoch), steps // 2)
    if step < warmup:
        return config.learning_rate * (config.warmup_start + (1 - config.warmup_start) * step / warmup)
    if config.schedule == "cosine":
        return _cosine(config, min((step - warmup) / max(steps - warmup, 1), 1.0))
    if config.schedule == "plateau":
        return reduced_rate(config, losses)
    if config.schedule == "milestones":
        passed = sum(step >= epoch * per_epoch for epoch in config.milestone_epochs)
        return config.learning_rate * config.milestone_factor**passed
    return config.learning_rate


def _cosine(config: TrainingConfig, progress: float) -> float:
    span = config.learning_rate - config.final_learning_rate
    return config.final_learning_rate + 0.5 * span * (1 + math.cos(math.pi * progress))


def _staircase(config: TrainingConfig, step: int, steps: int, per_epoch: float) -> float:
    """The rate of MedKLIP's released code.

    In the first epoch it rises by stairs, each set behind the first step of `stair_steps`; what the epoch has no steps
    for is left out. Then it follows a cosine over all epochs, with one value for each.
    """
    epoch = int(step // per_epoch)
    if epoch:
        epochs = max(1, round(steps / per_epoch))
        return _cosine(config, epoch / epochs) if epoch < epochs else config.final_learning_rate
    lowest = config.learning_rate * config.warmup_start
    stair = min(max(step - 1, 0) // config.stair_steps, config.stairs)
    return lowest + stair * ((config.learning_rate - lowest) / config.stairs)


def reduced_rate(config: TrainingConfig, losses: Sequence[float]) -> float:
    """The rate behind the validation losses so far, by the rule of torch's ReduceLROnPlateau.

    It falls where more than `plateau_patience` epochs in a row bring no loss lower than the lowest by THRESHOLD of it.
    NaN is no lower loss.
    """
    rate, bad, best = config.learning_rate, 0, math.inf
    for loss in losses:
        best, bad = (loss, 0) if loss < best * (1 - THRESHOLD) else (best, bad + 1)
        if bad > config.plateau_patience:
            lower, bad = max(rate * config.plateau_factor, config.final_learning_rate), 0
            rate = lower if rate - lower > SMALLEST_FALL else rate
    return rate


def epochs_without_better(losses: Sequence[float]) -> int:
    """How many epochs ago the lowest loss was."""
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0
