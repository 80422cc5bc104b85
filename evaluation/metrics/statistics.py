"""Tests whether two measurements differ: DeLong's test for areas under the ROC curve, else the paired bootstrap.

Both tests count by patient. Images of one patient are not independent, and intervals that ignore this are too narrow.
Several seeds are summarised by mean and std. The p-values of several tests are adjusted by Holm's rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, rankdata

from evaluation.errors import EvaluationError
from evaluation.metrics.classification import is_scorable
from evaluation.metrics.values import PERCENTILES, interval

NO_VARIANCE = 1e-20  # of areas, which lie in 0..1: what rounding leaves of a variance that is 0


class Comparison(NamedTuple):
    """The first measurement minus the second, its 95 % interval, and the two-sided p-value of "they are equal"."""

    difference: float
    low: float
    high: float
    p: float


class Spread(NamedTuple):
    """Several seeds of one measurement. `std` divides by seeds - 1, and is nan of a single one."""

    mean: float
    std: float
    seeds: int


def delong(
    labels: np.ndarray, scores: np.ndarray, subjects: Sequence[str] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Areas (k,) under the ROC curves of `scores` (n, k), and their covariance (k, k).

    `labels` (n,) hold 1, 0, or nan, which is left out; `subjects` (n,) are the patients. DeLong, DeLong and
    Clarke-Pearson (Biometrics 44, 1988), summed over patients as Obuchowski does (Biometrics 53, 1997): with one image
    per patient this is DeLong's estimate. The covariance is nan with fewer than two patients of either label.
    """
    if not len(labels) == len(scores) == len(subjects):
        raise EvaluationError(f"{len(scores)} scores do not fit {len(labels)} labels of {len(subjects)} patients.")
    if not is_scorable(labels):
        return np.full(scores.shape[1], np.nan), np.full((scores.shape[1],) * 2, np.nan)
    known = ~np.isnan(labels)
    labels, scores, patients = labels[known], scores[known], np.asarray(subjects)[known]
    positive, negative = labels == 1, labels == 0
    present, absent = scores[positive], scores[negative]
    ranks = rankdata(np.concatenate([present, absent]), axis=0)
    # the share of the other label that each image is on the right side of, ties counting half (Sun and Xu, 2014)
    above = (ranks[: len(present)] - rankdata(present, axis=0)) / len(absent)
    below = 1 - (ranks[len(present) :] - rankdata(absent, axis=0)) / len(present)
    areas = above.mean(axis=0)
    of_present = _sum_by_patient(above - areas, patients[positive], patients)
    of_absent = _sum_by_patient(below - areas, patients[negative], patients)
    within = [_sum_products(of_present, patients[positive]), _sum_products(of_absent, patients[negative])]
    count = len(of_present)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = of_present.T @ of_absent * np.divide(count, count - 1)
    m, n = len(present), len(absent)
    return areas, within[0] / m**2 + within[1] / n**2 + (between + between.T) / (m * n)


def compare_areas(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, subjects: Sequence[str] | np.ndarray
) -> Comparison:
    """DeLong's test of the areas of two scores (n,) of the same images.

    Equal curves have p = 1. Where the variance is 0 and the areas are not equal, as with two perfect orders of opposite
    direction, the test says nothing and its interval and p are nan.
    """
    areas, covariance = delong(labels, np.column_stack([first, second]), subjects)
    difference = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if np.isnan(variance):
        return Comparison(difference, np.nan, np.nan, np.nan)
    if variance < NO_VARIANCE:
        return (
            Comparison(0.0, 0.0, 0.0, 1.0) if abs(difference) < NO_VARIANCE else Comparison(difference, *[np.nan] * 3)
        )
    std = variance**0.5
    low, high = difference + std * norm.ppf(np.array(PERCENTILES) / 100)
    return Comparison(difference, float(low), float(high), float(2 * norm.sf(abs(difference) / std)))


def paired_bootstrap(first: float, second: float, of_first: np.ndarray, of_second: np.ndarray) -> Comparison:
    """Compare two values of any metric by what they are over the same resamples, each (resamples,).

    `patient_weights` draws the same resamples for the same patients and seed. The p-value is twice the share of
    resampled differences on the other side of 0, counting the sample itself once, so that it is never 0 (Davison and
    Hinkley, Bootstrap Methods, 1997, section 4.2). Resamples in which either value is nan are left out.
    """
    if of_first.shape != of_second.shape:
        raise EvaluationError(f"{len(of_first)} and {len(of_second)} resamples are not paired.")
    differences = of_first.astype(np.float64) - of_second
    differences = differences[~np.isnan(differences)]
    if not len(differences):
        return Comparison(first - second, np.nan, np.nan, np.nan)
    tail = 1 + min((differences <= 0).sum(), (differences >= 0).sum())
    return Comparison(first - second, *interval(differences), min(1.0, 2 * float(tail) / (1 + len(differences))))


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Adjust several p-values by Holm's rule (1979). A nan stands for no test and stays nan."""
    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full(values.shape, np.nan)
    order = np.argsort(values)[: np.count_nonzero(~np.isnan(values))]  # nan sorts last
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * factors))
    return adjusted


def summarise_seeds(values: Sequence[float]) -> Spread:
    """Mean and std of one measurement under several seeds."""
    std = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return Spread(float(np.mean(values)), std, len(values))


def _sum_by_patient(deviations: np.ndarray, owners: np.ndarray, subjects: np.ndarray) -> np.ndarray:
    """(patients, k): the deviations (images, k) of each of all patients summed; 0 for who owns none."""
    names = np.unique(subjects)
    sums = np.zeros((len(names), deviations.shape[1]))
    np.add.at(sums, np.searchsorted(names, owners), deviations)
    return sums


def _sum_products(sums: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """(k, k) sum of products over patients, corrected for the number of those who own an image."""
    count = len(np.unique(owners))
    return sums.T @ sums * (count / (count - 1) if count > 1 else np.nan)
