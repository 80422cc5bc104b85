"""Corrects the p-values of an audit: every gap and every shortcut that was tested, on all datasets.

The gaps of the mean over findings are one family, as they are few and show the smallest gaps. Everything else is the
other. Each has half of the level. Holm's rule (1979) keeps the probability that an audit calls anything found, where
there is nothing, below the level, however the tests depend on each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evaluation.audit.rows import ALL_FINDINGS, DatasetAudit, Tested
from evaluation.metrics.statistics import holm


def correct(audits: Sequence[DatasetAudit]) -> list[DatasetAudit]:
    """The audits with adjusted p-values."""
    tests = [test for audit in audits for test in audit.tests]
    adjusted = iter(adjust(tests))
    return [replace(audit, tests=[next(adjusted) for _ in audit.tests]) for audit in audits]


def adjust(tests: Sequence[Tested]) -> list[Tested]:
    """The tests with adjusted p-values. What was not measured is in no family; a family alone has all of the level."""
    families: dict[bool, list[int]] = {}
    for place, test in enumerate(tests):
        if test.p is not None:
            families.setdefault(test.finding == ALL_FINDINGS, []).append(place)
    adjusted = list(tests)
    for places in families.values():
        for place, value in zip(places, holm([tests[place].p or 0.0 for place in places]), strict=True):
            adjusted[place] = replace(tests[place], adjusted=min(1.0, len(families) * float(value)))
    return adjusted


def list_found(tests: Sequence[Tested], level: float) -> list[Tested]:
    """The tests whose adjusted p is below the level, the least first."""
    found = [test for test in tests if test.adjusted is not None and test.adjusted < level]
    return sorted(found, key=lambda test: (test.adjusted, -abs(test.difference or 0)))
