"""Tests whether a statistic is the same in two groups of images, or as great as expected, counting by patient.

A statistic is a mean over images: a rate, a mean change, or an area under the ROC curve, which is the mean over the
images with a finding of the share of others that score lower, and the other way round (DeLong, DeLong and
Clarke-Pearson, 1988). The deviations of all images of a patient are summed before they are squared (Obuchowski, 1997),
so that images of one patient, in one group or in both, do not count as independent.

Intervals take the deviations from each group's own value. Tests take those from the value that both groups would have
if they did not differ: a group without a single miss then has a variance. The tail is that of a t distribution with as
many degrees of freedom as the smallest set of images has patients, less one. Resampling patients gives the same
intervals (a test compares them); its p-values are too coarse to be corrected for hundreds of tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata, t

from evaluation.metrics.statistics import NO_VARIANCE, Comparison


@dataclass(frozen=True)
class Statistic:
    """A value, and what each image adds to its deviation from what is expected."""

    value: float
    parts: Sequence[tuple[np.ndarray, np.ndarray]]  # sets of images (k,), and their deviations (k,) from the mean
    bounded: bool = True  # whether the variance follows from the value, as of rates and areas

    @property
    def size(self) -> int:
        """Images of the smallest set."""
        return min(len(rows) for rows, _ in self.parts)


def area(scores: np.ndarray, present: np.ndarray, absent: np.ndarray) -> Statistic:
    """The AUROC of scores (n,) between the images `present` and `absent`, masks (n,) with an image each."""
    above, below = np.flatnonzero(present), np.flatnonzero(absent)
    ranks = rankdata(np.concatenate([scores[above], scores[below]]))
    shares = (ranks[: len(above)] - rankdata(scores[above])) / len(below)
    others = 1 - (ranks[len(above) :] - rankdata(scores[below])) / len(above)
    value = float(shares.mean())
    return Statistic(value, ((above, shares - value), (below, others - value)))


def rate(happened: np.ndarray, among: np.ndarray) -> Statistic:
    """How often something `happened` (n,) bool in the images `among` (n,) bool, at least one."""
    rows = np.flatnonzero(among)
    value = float(happened[rows].mean())
    return Statistic(value, ((rows, happened[rows] - value),))


def mean(values: np.ndarray, among: np.ndarray) -> Statistic:
    """The mean of values (n,) over the images `among` (n,) bool, at least one."""
    rows = np.flatnonzero(among)
    value = float(values[rows].mean())
    return Statistic(value, ((rows, values[rows] - value),), bounded=False)


def mean_difference(values: np.ndarray, present: np.ndarray, absent: np.ndarray) -> Statistic:
    """The mean of values (n,) over the images `present`, less that over the images `absent`."""
    first, second = mean(values, present), mean(values, absent)
    ((rows, deviations),) = second.parts
    return Statistic(first.value - second.value, (*first.parts, (rows, -deviations)), bounded=False)


def average(statistics: Sequence[Statistic]) -> Statistic:
    """The mean of several statistics of the same images, such as the AUROC of each finding; at least one."""
    count = len(statistics)
    parts = [(rows, deviations / count) for one in statistics for rows, deviations in one.parts]
    return Statistic(sum(one.value for one in statistics) / count, parts, bounded=False)


def compare(first: Statistic, second: Statistic, patients: np.ndarray) -> Comparison:
    """The first statistic less the second, of images whose `patients` (n,) are numbers from 0."""
    sizes = np.array([first.size, second.size])
    common = float(np.average([first.value, second.value], weights=sizes))
    return _test([(1, first), (-1, second)], [common, common], first.value - second.value, patients)


def compare_with(statistic: Statistic, expected: float, patients: np.ndarray) -> Comparison:
    """The statistic less what is expected of it, of images whose `patients` (n,) are numbers from 0."""
    return _test([(1, statistic)], [expected], statistic.value - expected, patients)


def count_patients(patients: np.ndarray) -> int:
    """How many patients there are among images, whose patients (n,) are numbers from 0."""
    return int(np.count_nonzero(np.bincount(patients)))


def _test(
    signed: Sequence[tuple[int, Statistic]], centres: Sequence[float], difference: float, patients: np.ndarray
) -> Comparison:
    freedom = min(count_patients(patients[rows]) for _, one in signed for rows, _ in one.parts) - 1
    if freedom < 1:
        return Comparison(difference, np.nan, np.nan, np.nan)
    shifts = [one.value - centre if one.bounded else 0.0 for (_, one), centre in zip(signed, centres, strict=True)]
    own = _variance(((sign, one, 0.0) for sign, one in signed), patients)
    expected = _variance(((sign, one, shift) for (sign, one), shift in zip(signed, shifts, strict=True)), patients)
    width = float(t.ppf(0.975, freedom) * own**0.5)
    if expected < NO_VARIANCE:
        p = 1.0 if abs(difference) < NO_VARIANCE else np.nan
    else:
        p = float(2 * t.sf(abs(difference) / expected**0.5, freedom))
    return Comparison(difference, difference - width, difference + width, p)


def _variance(signed: Iterable[tuple[int, Statistic, float]], patients: np.ndarray) -> float:
    """The variance of a sum of statistics, whose deviations are from their value less a shift."""
    influence = np.zeros(len(patients))
    involved = np.zeros(len(patients), bool)
    for sign, one, shift in signed:
        for rows, deviations in one.parts:
            influence[rows] += sign * (deviations + shift) / len(rows)
            involved[rows] = True
    sums = np.bincount(patients, influence)
    count = count_patients(patients[involved])
    return float((sums**2).sum() * count / (count - 1)) if count > 1 else float("nan")
