"""Gaps between groups of patients or images: AUROC, miss rate and false alarm rate, each tested by patient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.audit.measures.contrasts import Statistic, area, compare, count_patients, rate
from evaluation.audit.measures.examined import Examined, divide
from evaluation.audit.rows import AUROC, FALSE_ALARM_RATE, MISS_RATE, Tested
from evaluation.audit.settings import AuditSettings
from evaluation.metrics.statistics import Comparison


def measure_gaps(examined: Examined, thresholds: np.ndarray, settings: AuditSettings) -> Iterator[Tested]:
    """Every gap of every finding between every group and what it is compared with; `thresholds` (findings,) or nan.

    A gap that too few patients speak for has a reason in place of numbers.
    """
    patients = examined.test.patients
    for fact, groups in examined.groups.items():
        for group, against, inside, outside in divide(groups):
            for column, finding in enumerate(examined.findings):
                pair = _Pair(
                    examined.test.labels[:, column],
                    examined.test.scores[:, column],
                    float(thresholds[column]),
                    inside,
                    outside,
                    patients,
                )
                present, absent = (int((inside & (pair.labels == value)).sum()) for value in (1, 0))
                for kind in (AUROC, MISS_RATE, FALSE_ALARM_RATE):
                    place = (kind, finding, fact, group, against, present, absent)
                    yield _measure(pair, place, settings.fewest)


@dataclass(frozen=True)
class _Pair:
    """One finding in a group, `inside`, and in what it is compared with, `outside`."""

    labels: np.ndarray
    scores: np.ndarray
    threshold: float
    inside: np.ndarray
    outside: np.ndarray
    patients: np.ndarray

    def statistic(self, kind: str, mask: np.ndarray) -> Statistic:
        present, absent = mask & (self.labels == 1), mask & (self.labels == 0)
        if kind == AUROC:
            return area(self.scores, present, absent)
        reached = self.scores >= self.threshold
        return rate(~reached, present) if kind == MISS_RATE else rate(reached, absent)

    def fewest_patients(self, values: Sequence[int]) -> tuple[int, str]:
        """Patients of the smallest set of images that a statistic is over, and where that is."""
        return min(
            (
                count_patients(self.patients[mask & (self.labels == value)]),
                f"{name} {'with' if value else 'without'} it",
            )
            for name, mask in (("the group", self.inside), ("the rest", self.outside))
            for value in values
        )


def _measure(pair: _Pair, place: tuple[str, str, str, str, str, int, int], fewest: int) -> Tested:
    kind = place[0]
    needed = {AUROC: (1, 0), MISS_RATE: (1,), FALSE_ALARM_RATE: (0,)}[kind]
    count, where = pair.fewest_patients(needed)
    if count < fewest:
        return Tested(*place, reason=f"{count} patients of {where}, fewer than {fewest}")
    if kind != AUROC and np.isnan(pair.threshold):
        return Tested(*place, reason="no operating point: validate lacks images with or without it")
    first, second = (pair.statistic(kind, mask) for mask in (pair.inside, pair.outside))
    return as_tested(place, first.value, second.value, compare(first, second, pair.patients))


def as_tested(
    place: tuple[str, str, str, str, str, int, int], value: float, reference: float, found: Comparison
) -> Tested:
    """The row of a test; one without a variance has no p and is said not to be measured."""
    if np.isnan(found.p):
        return Tested(*place, value=value, reference=reference, reason="the values do not vary, so there is no test")
    return Tested(*place, value, reference, found.difference, found.low, found.high, found.p)
