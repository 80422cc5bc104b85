"""Which pairs are in which batch: all of them shuffled, or the cohorts of a pool in the shares of their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from shards.loader import Shuffle
from shards.mixing import Mixture, whole_weights
from shards.pool import Pool
from store.suggestions import did_you_mean
from training.config import TrainingConfig
from training.data.pairs import PairData
from training.errors import TrainingError


def order_pairs(config: TrainingConfig, data: PairData) -> Shuffle | Mixture:
    """The batches of a run. TrainingError where `weights` do not fit the cohorts of the shards."""
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


def expect_weights(weights: Mapping[str, object], cohorts: Sequence[str]) -> None:
    """Raise TrainingError unless `weights` are those of the `cohorts` of a pool."""
    if len(cohorts) < 2:
        raise TrainingError(
            f"training option `weights` is for several cohorts, and the shards are of {cohorts[0]} alone; leave it out"
        )
    for name in weights:
        if name not in cohorts:
            raise TrainingError(
                f"training option `weights` names {name}{did_you_mean(name, cohorts)}, which is not one of the pool: "
                f"{', '.join(cohorts)}"
            )
    for cohort in cohorts:
        if cohort not in weights:
            raise TrainingError(f"training option `weights` has none for {cohort}; give each cohort of the pool one")
