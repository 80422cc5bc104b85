"""The page of an audit: what is found first, then every number with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evaluation.audit.audit import Audit, describe_found
from evaluation.audit.measures.calibration import NO_SCALING
from evaluation.audit.pages.card import (
    REVERSED,
    SIMULATED,
    WARNING,
    describe_family,
    describe_nothing,
    describe_point,
    format_interval,
    format_p,
    name_dataset,
    summarise_unmeasured,
)
from evaluation.audit.pages.environment import render
from evaluation.audit.rows import AUROC, GAPS, SHORTCUTS, CountRow, DatasetAudit, Interval, Tested
from evaluation.figures.gaps import Bar, draw_gaps
from evaluation.figures.pictures import data_uri
from evaluation.figures.reliability import draw_reliability

DRAWN = 30  # gaps in a figure, those that are surest to differ


@dataclass(frozen=True)
class Prevalences:
    """The table of counts of a dataset: findings against the splits and their groups."""

    heads: Sequence[str]
    lines: Sequence[tuple[str, str, Sequence[str]]]  # split, group, a cell for each finding


def as_html(audit: Audit) -> str:
    """Render the page."""
    return render(
        "audit.html",
        audit=audit,
        warning=WARNING,
        simulated=SIMULATED,
        nothing=describe_nothing(audit),
        point=describe_point(audit.settings.operating_point),
        family=describe_family(audit),
        reversed=REVERSED,
        describe=describe_found,
        interval=format_interval,
        make_interval=lambda test: format_interval(Interval(test.difference, test.low, test.high)),
        p=format_p,
        name=name_dataset,
        reliability=_draw_curves,
        gaps=_draw_gaps,
        gap_rows=lambda one: _sort(one, GAPS),
        shortcut_rows=lambda one: _sort(one, SHORTCUTS),
        prevalences=list_prevalences,
        summarise=summarise_unmeasured,
        points=lambda one: [row for row in one.operating_points if not row.reason],
        slope_text=lambda row: f"{1 / row.slope:.3g}" if row.slope else "-",
    )


def list_prevalences(audit: DatasetAudit) -> Prevalences:
    """How many images have each finding, and their share, by split and group."""
    findings = list(dict.fromkeys(row.finding for row in audit.counts))
    lines: dict[tuple[str, str], dict[str, CountRow]] = {}
    for row in audit.counts:
        lines.setdefault((row.split, f"{row.fact} {row.group}".strip() or "all"), {})[row.finding] = row
    return Prevalences(
        findings,
        [
            (split, f"{group} ({next(iter(rows.values())).images:,})", [_count(rows[name]) for name in findings])
            for (split, group), rows in lines.items()
        ],
    )


def _count(row: CountRow) -> str:
    return "-" if row.prevalence is None else f"{row.positives:,} ({row.prevalence:.1%})"


def _sort(audit: DatasetAudit, kinds: Sequence[str]) -> list[Tested]:
    """The measured tests of some kinds, the surest first."""
    found = [test for test in audit.tests if test.kind in kinds and test.p is not None]
    return sorted(found, key=lambda test: (test.p, -abs(test.difference or 0)))


def _draw_curves(audit: DatasetAudit) -> str:
    curves: dict[str, dict[str, Sequence[tuple[int, float, float]]]] = {}
    for row in audit.calibration:
        if row.curve:
            name = "as they are" if row.scaling == NO_SCALING else row.scaling
            curves.setdefault(row.finding, {})[name] = row.curve
    return data_uri(draw_reliability(curves)) if curves else ""


def _draw_gaps(audit: Audit, one: DatasetAudit) -> str:
    found = set(map(id, audit.found(one)))
    bars = list(_make_bars([test for test in _sort(one, [AUROC])][:DRAWN], found))
    return (
        data_uri(draw_gaps(bars, "AUROC of the group less that of the others, 95 % interval by patient"))
        if bars
        else ""
    )


def _make_bars(tests: Sequence[Tested], found: set[int]) -> Iterator[Bar]:
    for test in tests:
        assert test.difference is not None
        assert test.low is not None
        assert test.high is not None
        name = f"{test.finding}, {test.fact} {test.group}"
        yield Bar(name, test.difference, test.low, test.high, id(test) in found)
