"""Which pairs are in which batch: all of them shuffled, or the cohorts of a pool in the shares of their weights."""

from __future__ import annotations

import numpy as np

from shards.loader import Shuffle
from shards.mixing import Mixture, expect_weights, whole_weights
from shards.pool import Pool
from training.config import TrainingConfig
from training.data.pairs import PairData
from training.errors import TrainingError


def order_pairs(config: TrainingConfig, data: PairData) -> Shuffle | Mixture:
    """The batches of a run. ShardError or TrainingError where `weights` do not fit the shards."""
    pool = data.reader.manifest
    if not config.weights:
        return Shuffle(len(data), config.batch_size, config.seed, config.last_batch)
    cohorts = [member.cohort for member in pool.members] if isinstance(pool, Pool) else [pool.cohort]
    expect_weights(config.weights, cohorts)
    weights = whole_weights([config.weights[cohort] for cohort in cohorts])
    groups = [np.flatnonzero(data.cohorts() == cohort) for cohort in cohorts]
    for cohort, weight, pairs in zip(cohorts, weights, map(len, groups), strict=True):
        of_batch = -(-config.batch_size * weight // sum(weights))
        if pairs < of_batch:
            raise TrainingError(
                f"training option `weights` takes {of_batch} pairs of each batch from {cohort}, which has {pairs}; "
                "lower its weight or `batch_size`"
            )
    return Mixture(groups, weights, config.batch_size, config.seed, config.last_batch)
