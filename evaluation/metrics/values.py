"""Result values with their intervals, computed from resampled statistics per class and for the mean over classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

MACRO = "macro"
ZERO_SHOT = "zero-shot"  # the setting of what is measured without a label
PERCENTILES = (2.5, 97.5)  # the 95 % interval


@dataclass(frozen=True)
class ResultValue:
    """One number of a results table. `value` is None where the class cannot be scored."""

    metric: str
    class_name: str  # or MACRO
    value: float | None
    low: float | None
    high: float | None
    n: int  # images, or studies, behind the number; for MACRO the classes it is the mean of
    resampled: np.ndarray | None = field(default=None, compare=False, repr=False)  # (resamples,), nan where unknown
    positives: int | None = None  # images or studies that have the class; None where that does not apply

    def as_row(self) -> dict[str, Any]:
        """The columns of `results` that hold the number."""
        return {
            "metric": self.metric,
            "class": self.class_name,
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "n": self.n,
            "positives": self.positives,
        }


def summarise(
    metric: str, classes: Sequence[str], points: np.ndarray, resampled: np.ndarray, counts: np.ndarray
) -> list[ResultValue]:
    """A value for every class, then their mean over the classes that can be scored.

    `points` (classes,) and `resampled` (resamples, classes) hold nan where a class cannot be scored. The
    interval of a class is over the resamples in which it can be; the mean of a resample is over the classes
    it can score.
    """
    scored = np.isfinite(points)
    values = []
    for index, name in enumerate(classes):
        values.append(_make_value(metric, name, points[index], resampled[:, index], int(counts[index])))
    mean = float(points[scored].mean()) if scored.any() else np.nan
    return [*values, _make_value(metric, MACRO, mean, _average_rows(resampled[:, scored]), int(scored.sum()))]


def add_positives(values: Sequence[ResultValue], classes: Sequence[str], labels: np.ndarray) -> list[ResultValue]:
    """The values, with the number of images that have the class: `labels` (images, classes) are 1 for them."""
    present = dict(zip(classes, (labels == 1).sum(axis=0).tolist(), strict=True))
    return [replace(value, positives=present.get(value.class_name)) for value in values]


def interval(resampled: np.ndarray, rule: str = "interpolated") -> tuple[float, float]:
    """The 95 % interval of resampled values, of which nan ones are left out.

    `rule`: `interpolated` percentiles, or the `ranks` of CheXzero's code, the sorted values at int(share * n) - 1: with
    fewer than 40 of them its lower bound is the largest value.
    """
    known = np.sort(resampled[~np.isnan(resampled)])
    if not len(known):
        return float("nan"), float("nan")
    if rule == "ranks":
        low, high = (known[int(percentile / 100 * len(known)) - 1] for percentile in PERCENTILES)
    else:
        low, high = np.percentile(known, PERCENTILES)
    return float(low), float(high)


def list_unscored(values: Sequence[ResultValue]) -> list[tuple[str, str]]:
    """Metric and class of every number that could not be computed."""
    return [(value.metric, value.class_name) for value in values if value.value is None]


def _average_rows(rows: np.ndarray) -> np.ndarray:
    """Mean of the finite entries of each row; nan where there is none, so that rows stay paired between methods."""
    known = np.isfinite(rows)
    counts = known.sum(axis=1)
    return np.where(counts, np.where(known, rows, 0.0).sum(axis=1) / np.maximum(counts, 1), np.nan)


def _make_value(metric: str, name: str, point: float, resampled: np.ndarray, count: int) -> ResultValue:
    if not np.isfinite(point):
        return ResultValue(metric, name, None, None, None, count)
    if not np.isfinite(resampled).any():
        return ResultValue(metric, name, float(point), None, None, count)
    resampled = np.where(np.isfinite(resampled), resampled, np.nan)
    return ResultValue(metric, name, float(point), *interval(resampled), count, resampled)
