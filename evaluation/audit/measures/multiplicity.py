"""Corrects the p-values of an audit: the family is every gap and every shortcut that was tested, on all datasets.

Holm's rule (1979) keeps the probability that an audit calls anything found, where there is nothing, below the level,
however the tests depend on each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evaluation.audit.rows import DatasetAudit, Tested
from evaluation.metrics.statistics import holm


def correct(audits: Sequence[DatasetAudit]) -> list[DatasetAudit]:
    """The audits with adjusted p-values."""
    tests = [test for audit in audits for test in audit.tests]
    adjusted = iter(adjust(tests))
    return [replace(audit, tests=[next(adjusted) for _ in audit.tests]) for audit in audits]


def adjust(tests: Sequence[Tested]) -> list[Tested]:
    """The tests with adjusted p-values, as one family; what was not measured is not in it."""
    values = holm([float("nan") if test.p is None else test.p for test in tests])
    return [
        test if test.p is None else replace(test, adjusted=float(value))
        for test, value in zip(tests, values, strict=True)
    ]


def list_found(tests: Sequence[Tested], level: float) -> list[Tested]:
    """The tests whose adjusted p is below the level, the least first."""
    found = [test for test in tests if test.adjusted is not None and test.adjusted < level]
    return sorted(found, key=lambda test: (test.adjusted, -abs(test.difference or 0)))
