"""The loss on the validation split: the same batches every epoch, the images as they are.

Methods that compare two views of an image get views as in the training, the same ones every epoch. An image beside
itself would be compared with no effort.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch

from imaging.augment import Augmentation
from training.config import TrainingConfig
from training.data.pairs import PairData
from training.objective import Objective

FIXED = 1_000_003  # seed of the validation batches, which no step uses


@torch.no_grad()
def validation_terms(
    objective: Objective, data: PairData, config: TrainingConfig, augmentation: Augmentation, bf16: bool
) -> dict[str, float]:
    """Mean loss terms of the split's pairs, in equal batches of at most `batch_size`, the network being evaluated.

    Batches have two pairs or more where the split has: a pair alone has nothing to be contrasted with.
    """
    device = next(objective.parameters()).device
    order = np.random.default_rng(FIXED).permutation(len(data))
    batches = max(1, min(-(-len(order) // config.batch_size), len(order) // 2))
    size = len(order) // batches
    sums: dict[str, float] = defaultdict(float)
    training = objective.training
    objective.eval()
    for number in range(batches):
        chosen = order[number * size : (number + 1) * size]
        pairs = data.pairs(chosen, np.random.default_rng([FIXED, number]))
        torch.manual_seed(FIXED + number)
        batch = pairs.augmented(augmentation, device) if data.two_views else pairs.batch.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            terms = objective(batch, seed=FIXED + number, pairs=size)
        for name, term in terms.items():
            sums[name] += float(term) / batches
    objective.train(training)
    return dict(sums)
