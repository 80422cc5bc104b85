"""The loss on the validation split: no augmentation, no random numbers, the same batches every epoch."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import torch

from training.config import TrainingConfig
from training.data.pairs import PairData
from training.objective import Objective

FIXED = 1_000_003  # seed of the validation batches, which no step uses


@torch.no_grad()
def validation_terms(objective: Objective, data: PairData, config: TrainingConfig, bf16: bool) -> dict[str, float]:
    """Mean loss terms of the split's pairs, in equal batches of at most `batch_size`, the network being evaluated."""
    device = next(objective.parameters()).device
    order = np.random.default_rng(FIXED).permutation(len(data))
    batches = -(-len(order) // config.batch_size)
    size = len(order) // batches
    sums: dict[str, float] = defaultdict(float)
    training = objective.training
    objective.eval()
    for number in range(batches):
        chosen = order[number * size : (number + 1) * size]
        pairs = data.pairs(chosen, np.random.default_rng([FIXED, number]))
        batch = replace(pairs.batch, views=pairs.batch.images) if data.two_views else pairs.batch
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            terms = objective(batch.to(device), seed=FIXED + number, pairs=size)
        for name, term in terms.items():
            sums[name] += float(term) / batches
    objective.train(training)
    return dict(sums)
