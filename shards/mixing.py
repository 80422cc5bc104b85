"""Batches of pairs from several cohorts in given shares, which are exact. All follows from a batch's number.

The places of the endless sequence of pairs are divided in rounds of as many places as the weights add up to. In every
round each cohort has its weight in places, spread evenly, so that any window of n places has n times the cohort's share
of its pairs, to within the number of cohorts. A cohort fills its places with one permutation of its pairs after the
other: none is taken again before all were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from math import gcd, lcm

import numpy as np

from shards.errors import ShardError
from shards.loader import Epochs
from store.errors import did_you_mean

LONGEST_ROUND = 10_000


def expect_weights(weights: Mapping[str, object], cohorts: Sequence[str]) -> None:
    """Raise ShardError unless `weights` are those of the `cohorts` of a pool."""
    if len(cohorts) < 2:
        raise ShardError(
            f"training option `weights` is for several cohorts, and the shards are of {cohorts[0]} alone; leave it out"
        )
    for name in weights:
        if name not in cohorts:
            raise ShardError(
                f"training option `weights` names {name}{did_you_mean(name, cohorts)}, which is not one of the pool: "
                f"{', '.join(cohorts)}"
            )
    for cohort in cohorts:
        if cohort not in weights:
            raise ShardError(f"training option `weights` has none for {cohort}; give each cohort of the pool one")


def whole_weights(weights: Sequence[float]) -> list[int]:
    """The smallest whole numbers in the ratio of `weights`, all of which are above 0.

    ShardError where they are larger than anybody means.
    """
    exact = [Fraction(str(weight)) for weight in weights]
    common = lcm(*(one.denominator for one in exact))
    whole = [int(one * common) for one in exact]
    divisor = gcd(*whole)
    whole = [one // divisor for one in whole]
    if sum(whole) > LONGEST_ROUND:
        raise ShardError(
            f"The weights {', '.join(map(str, weights))} are in no ratio of small whole numbers; round them, as to 3 "
            "and 1."
        )
    return whole


class Mixture(Epochs):
    """An endless sequence of batches as `shards.loader.Shuffle`, of cohorts in the shares of `weights`.

    `groups` are the pairs of each cohort, of 0 .. pairs - 1. An epoch is as many pairs as there are. With `drop` it
    ends with its last whole batch, and no pair is passed over.
    """

    def __init__(
        self, groups: Sequence[np.ndarray], weights: Sequence[int], batch_size: int, seed: int, last: str = "across"
    ) -> None:
        super().__init__(sum(map(len, groups)), batch_size, last)
        self._groups = groups
        self._weights = np.array(weights, np.int64)
        self._group_of, self._nth = _spread(weights)
        self._order = lru_cache(maxsize=2 * len(groups))(
            lambda group, epoch: np.random.default_rng([seed, epoch, group]).permutation(groups[group])
        )

    def batch(self, number: int) -> np.ndarray:
        """Which pairs are in batch `number` (counting from 0), in this order."""
        places = self._places(number)
        rounds, slots = np.divmod(places, len(self._group_of))
        groups = self._group_of[slots]
        taken = rounds * self._weights[groups] + self._nth[slots]  # pairs of the cohort before this place
        return np.array(
            [self._pair(group, nth) for group, nth in zip(groups.tolist(), taken.tolist(), strict=True)], np.int64
        )

    def _places(self, number: int) -> np.ndarray:
        """The places of a batch in the sequence."""
        if self.last != "keep":
            return number * self.batch_size + np.arange(self.batch_size)
        epoch, place = divmod(number, int(self.batches_per_epoch))
        first = place * self.batch_size
        return epoch * self.pairs + np.arange(first, min(first + self.batch_size, self.pairs))

    def _pair(self, group: int, nth: int) -> int:
        epoch, place = divmod(nth, len(self._groups[group]))
        return int(self._order(group, epoch)[place])


def _spread(weights: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """For each place of a round (places,): its cohort, and how many places before it are of this cohort."""
    places = sorted(
        (Fraction(2 * nth + 1, 2 * weight), group, nth) for group, weight in enumerate(weights) for nth in range(weight)
    )
    return np.array([group for _, group, _ in places]), np.array([nth for _, _, nth in places])
