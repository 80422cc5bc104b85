"""Whether the images of a night differ from reference images, in any of several quantities.

The distance of a quantity lies in 0..1. For numbers it is that of Kolmogorov and Smirnov: the largest difference
between the shares of images below any value. For groups it is the total variation: the share of images that would have
to change their group. For two groups both are the difference of a share.

What a night without drift looks like follows from random nights: reference and night are put together, and as many
images as the night has are drawn, patient by patient. This is exact where patients are exchangeable, also for a group
that occurs once. The number of quantities is corrected for by the rarest distances of the random nights (Westfall and
Young 1993, single step), which takes into account that quantities vary together. The result is exact however the
rarity of a distance is measured; that only divides the errors between the quantities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

BLOCK = 4_000_000  # numbers held at once
TAIL = 0.01  # share of the farthest draws whose distances are taken for exponential
SMALLEST = 1e-6  # a difference of distances, which float32 tells from none


@dataclass(frozen=True)
class Distance:
    """How far a night is from the reference in one quantity."""

    value: float  # 0..1
    limit: float  # the least distance that is warned of
    p: float
    adjusted: float  # p, corrected for the number of quantities
    warned: bool


def measure_distances(
    numbers: Mapping[str, np.ndarray],
    groups: Mapping[str, np.ndarray],
    patients: np.ndarray,
    night: int,
    level: float,
    resamples: int,
    seed: int = 0,
) -> dict[str, Distance]:
    """The distance of the last `night` rows from all rows before them, by quantity.

    `numbers` (rows,) hold nan where a value is not known, `groups` (rows,) are codes from 0, `patients` (rows,)
    numbers. A quantity that has one value in all rows is left out.
    """
    rows = len(patients)
    own = np.arange(rows - night, rows)
    draws = np.concatenate([own[None], draw_nights(patients, night, resamples, np.random.default_rng(seed))])
    found = {name: _number_distances(values, draws) for name, values in numbers.items() if _varies(values)}
    found |= {name: _group_distances(codes, draws) for name, codes in groups.items() if _varies(codes)}
    if not found:
        return {}
    rarities = {name: measure_rarity(distances) for name, distances in found.items()}
    rarest = np.max(np.stack([rarity.of for rarity in rarities.values()]), axis=0)  # (draws,)
    usual = largest_usual(rarest, level)
    return {
        name: Distance(
            value=float(distances[0]),
            limit=least_unusual(distances, rarities[name], usual),
            p=float((distances >= distances[0]).mean()),
            adjusted=float((rarest >= rarities[name].of[0]).mean()),
            warned=bool(rarities[name].of[0] > usual),
        )
        for name, distances in found.items()
    }


@dataclass(frozen=True)
class Rarity:
    """How rare each distance of a quantity is among all draws: the negative logarithm of the share that is as far.

    Beyond the farthest hundredth of the draws that share is continued by an exponential tail, without which the
    farthest draws of all quantities would be equally rare, and none rare enough for many quantities.
    """

    of: np.ndarray  # (draws,)
    start: float  # of the tail
    excess: float  # mean of the distances beyond it


def measure_rarity(distances: np.ndarray) -> Rarity:
    """The rarity of the distances (draws,) of a quantity."""
    ordered = np.sort(distances)
    start = float(ordered[int((1 - TAIL) * len(ordered))])
    beyond = ordered[ordered > start] - start
    excess = float(beyond.mean()) if len(beyond) else SMALLEST
    shares = np.maximum(_share_as_far(distances), TAIL)
    return Rarity(-np.log(shares) + np.maximum(distances - start, 0) / excess, start, excess)


def largest_usual(rarest: np.ndarray, level: float) -> float:
    """The rarity that more than a share `level` of the nights reach in some quantity; what is rarer is warned of."""
    values, counts = np.unique(rarest, return_counts=True)
    reached = np.cumsum(counts[::-1])[::-1]
    return float(values[reached > level * len(rarest) + SMALLEST][-1])


def least_unusual(distances: np.ndarray, rarity: Rarity, usual: float) -> float:
    """The least distance that is rarer than `usual`: of those that were drawn or, where none was, of the tail."""
    unusual = distances[rarity.of > usual]
    if len(unusual):
        return float(unusual.min())
    return min(float(rarity.start + rarity.excess * max(usual + np.log(TAIL), 0)), 1.0) + SMALLEST


def draw_nights(patients: np.ndarray, night: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, night) rows: random nights of so many images, each of random patients with all of their images.

    The images of the last patient of a night are those that still fit.
    """
    _, codes, sizes = np.unique(patients, return_inverse=True, return_counts=True)
    table = np.full((len(sizes), sizes.max()), -1)
    order = np.argsort(codes, kind="stable")
    place = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    table[codes[order], place] = order
    chosen = min(night, len(sizes))
    drawn = np.empty((count, night), np.int64)
    step = max(1, BLOCK // max(len(sizes), chosen * table.shape[1]))
    for first in range(0, count, step):
        keys = rng.random((min(step, count - first), len(sizes)))
        part = np.argsort(keys, axis=1)[:, :chosen]
        images = table[part].reshape(len(part), -1)
        there = np.argsort(images < 0, axis=1, kind="stable")[:, :night]
        drawn[first : first + step] = np.take_along_axis(images, there, axis=1)
    return drawn


def _number_distances(values: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """(draws,) the largest difference between the distribution of the drawn rows and that of the others."""
    known = ~np.isnan(values)
    ordered = np.sort(values[known])
    below, up_to = (np.full(len(values), np.nan) for _ in range(2))
    below[known] = np.searchsorted(ordered, values[known], "left") / len(ordered)
    up_to[known] = np.searchsorted(ordered, values[known], "right") / len(ordered)
    distances = np.empty(len(draws))
    steps = np.arange(draws.shape[1])
    step = max(1, BLOCK // draws.shape[1])
    for first in range(0, len(draws), step):
        part = draws[first : first + step]
        counts = known[part].sum(axis=1, keepdims=True)
        usable = np.maximum(counts, 1)
        above = np.where(steps < counts, (steps + 1) / usable - np.sort(up_to[part], axis=1), 0)
        under = np.where(steps < counts, np.sort(below[part], axis=1) - steps / usable, 0)
        # The pool is the drawn rows and the others: what is far from the pool is farther from the others.
        others = np.maximum(len(ordered) - counts[:, 0], 1)
        distances[first : first + step] = np.maximum(above.max(axis=1), under.max(axis=1)) * len(ordered) / others
    return np.minimum(distances, 1).round(12)


def _group_distances(codes: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """(draws,) the total variation between the groups of the drawn rows and those of the others."""
    totals = np.bincount(codes)
    rows, night = len(codes), draws.shape[1]
    differences = np.zeros(len(draws))
    for code, total in enumerate(totals.tolist()):
        counts = (codes == code)[draws].sum(axis=1)
        differences += np.abs(counts / night - (total - counts) / max(rows - night, 1))
    return (differences / 2).round(12)


def _varies(values: np.ndarray) -> bool:
    known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    return bool(len(known)) and bool((known != known[0]).any())


def _share_as_far(distances: np.ndarray) -> np.ndarray:
    """(draws,) of each: the share of all that are as far, or farther."""
    ordered = np.sort(distances)
    return 1 - np.searchsorted(ordered, distances, "left") / len(ordered)
