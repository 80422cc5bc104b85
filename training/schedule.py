"""The learning rate, and when to stop, as pure functions of the step and of the validation losses so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

from training.config import TrainingConfig


def learning_rate(config: TrainingConfig, step: int, steps: int, warmup: int, losses: Sequence[float]) -> float:
    """The rate of `step` (from 0) of `steps`, of which `warmup` rise linearly; `losses`: validation, one per epoch."""
    if step < warmup:
        return config.learning_rate * (config.warmup_start + (1 - config.warmup_start) * step / warmup)
    if config.schedule == "cosine":
        progress = min((step - warmup) / max(steps - warmup, 1), 1.0)
        span = config.learning_rate - config.final_learning_rate
        return config.final_learning_rate + 0.5 * span * (1 + math.cos(math.pi * progress))
    if config.schedule == "plateau":
        reductions = plateaus(losses, config.plateau_patience)
        return max(config.learning_rate * config.plateau_factor**reductions, config.final_learning_rate)
    return config.learning_rate


def plateaus(losses: Sequence[float], patience: int) -> int:
    """How often `patience` epochs in a row brought no loss below the lowest before; each row counts once."""
    found, bad, best = 0, 0, math.inf
    for loss in losses:
        best, bad = (loss, 0) if loss < best else (best, bad + 1)
        if bad == patience:
            found, bad = found + 1, 0
    return found


def epochs_without_better(losses: Sequence[float]) -> int:
    """How many epochs ago the lowest loss was."""
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0
