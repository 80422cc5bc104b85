"""Gaps between groups of patients or images: AUROC, miss rate and false alarm rate, each tested by patient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.audit.measures.contrasts import Statistic, area, average, compare, count_patients, rate
from evaluation.audit.measures.examined import Examined, divide
from evaluation.audit.rows import ALL_FINDINGS, AUROC, FALSE_ALARM_RATE, GAPS, MISS_RATE, Tested
from evaluation.audit.settings import AuditSettings
from evaluation.metrics.statistics import Comparison


def measure_gaps(examined: Examined, thresholds: np.ndarray, settings: AuditSettings) -> Iterator[Tested]:
    """Every gap of every finding, and of the mean over findings, between every group and what it is compared with.

    `thresholds` are (findings,) or nan. A gap that too few patients speak for has a reason in place of numbers. The
    mean is over the findings that were measured in both groups; it shows smaller gaps than any of them alone.
    """
    patients = examined.test.patients
    for fact, groups in examined.groups.items():
        for group, against, inside, outside in divide(groups):
            pairs = [
                _Pair(finding, labels, scores, float(threshold), inside, outside, patients)
                for finding, labels, scores, threshold in zip(
                    examined.findings, examined.test.labels.T, examined.test.scores.T, thresholds, strict=True
                )
            ]
            for kind in GAPS:
                rows, statistics = [], []
                for pair in pairs:
                    place = (kind, pair.finding, fact, group, against, pair.count(1), pair.count(0))
                    row, both = _measure(pair, place, settings.fewest)
                    yield row
                    if not row.reason:
                        rows.append(row)
                        statistics.append(both)
                if len(rows) > 1:
                    yield _measure_mean(rows, statistics, patients)


@dataclass(frozen=True)
class _Pair:
    """One finding in a group, `inside`, and in what it is compared with, `outside`."""

    finding: str
    labels: np.ndarray
    scores: np.ndarray
    threshold: float
    inside: np.ndarray
    outside: np.ndarray
    patients: np.ndarray

    def count(self, value: int) -> int:
        """Images of the group whose label is `value`."""
        return int((self.inside & (self.labels == value)).sum())

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


def _measure(
    pair: _Pair, place: tuple[str, str, str, str, str, int, int], fewest: int
) -> tuple[Tested, Sequence[Statistic]]:
    """The gap, and the statistics of the group and of what it is compared with; none where they cannot be measured."""
    kind = place[0]
    needed = {AUROC: (1, 0), MISS_RATE: (1,), FALSE_ALARM_RATE: (0,)}[kind]
    count, where = pair.fewest_patients(needed)
    if count < fewest:
        return Tested(*place, reason=f"{count} patients of {where}, fewer than {fewest}"), ()
    if kind != AUROC and np.isnan(pair.threshold):
        return Tested(*place, reason="no operating point: validate lacks images with or without it"), ()
    first, second = (pair.statistic(kind, mask) for mask in (pair.inside, pair.outside))
    return as_tested(place, first.value, second.value, compare(first, second, pair.patients)), (first, second)


def _measure_mean(rows: Sequence[Tested], statistics: Sequence[Sequence[Statistic]], patients: np.ndarray) -> Tested:
    """The gap of the mean over findings, whose own gaps are `rows`, with the statistics of both groups of each."""
    first, second = (average(of_group) for of_group in zip(*statistics, strict=True))
    present, absent = (sum(counts) for counts in zip(*((row.present, row.absent) for row in rows), strict=True))
    place = (rows[0].kind, ALL_FINDINGS, rows[0].fact, rows[0].group, rows[0].against, present, absent)
    return as_tested(place, first.value, second.value, compare(first, second, patients))


def as_tested(
    place: tuple[str, str, str, str, str, int, int], value: float, reference: float, found: Comparison
) -> Tested:
    """The row of a test; one without a variance has no p and is said not to be measured."""
    if np.isnan(found.p):
        return Tested(*place, value=value, reference=reference, reason="the values do not vary, so there is no test")
    return Tested(*place, value, reference, found.difference, found.low, found.high, found.p)
