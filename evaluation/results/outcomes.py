"""What came of an evaluation, for pages: counts, a table of the numbers, and means to plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.evaluator import Outcome
from evaluation.metrics.values import MACRO, ResultValue
from evaluation.predictions import WEIGHTS
from evaluation.results.markdown import markdown_table
from evaluation.tasks.registry import task
from store.digests import fingerprint


def digest_outcomes(outcomes: Sequence[Outcome]) -> str:
    """Changes with every number and every note."""
    rows = [
        (
            *(one.run_name, one.cohort, one.task, one.setting.name, one.setting.repeat, one.weights, one.note),
            [(value.metric, value.class_name, value.value, value.low, value.high) for value in one.values],
        )
        for one in outcomes
    ]
    return fingerprint(rows)


def count_outcomes(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """How many results were computed and how many were stored already."""
    reused = sum(outcome.reused for outcome in outcomes)
    return {
        "computed": len(outcomes) - reused,
        "found in results": reused,
        "seconds": round(sum(outcome.seconds for outcome in outcomes), 1),
    }


def tabulate_outcomes(outcomes: Sequence[Outcome]) -> str:
    """A row per metric and class, trained and untrained side by side; where there is no number its reason."""
    pairs: dict[tuple[str, ...], dict[str, str]] = {}
    for outcome in outcomes:
        place = (outcome.run_name, outcome.task, outcome.setting.name, str(outcome.setting.repeat))
        if outcome.note:
            pairs.setdefault((*place, task(outcome.task).leading, MACRO, "0"), {})[outcome.weights] = outcome.note
        for value in outcome.values:
            row = pairs.setdefault((*place, value.metric, value.class_name, str(value.n)), {})
            row[outcome.weights] = interval_text(value)
    rows = [(*place, *(row.get(weights, "") for weights in WEIGHTS)) for place, row in pairs.items()]
    return markdown_table(("run", "task", "setting", "repeat", "metric", "class", "n", *WEIGHTS), rows)


def interval_text(value: ResultValue) -> str:
    """A number with its interval."""
    if value.value is None or value.low is None:
        return "-" if value.value is None else f"{value.value:.3f}"
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def means_to_plot(outcomes: Sequence[Outcome], leading_only: bool = False, prefix: str = "") -> Mapping[str, float]:
    """The means as numbers, which Dagster plots over the materializations."""
    return {
        " ".join(
            part
            for part in (
                prefix,
                outcome.task,
                value.metric,
                "" if outcome.setting.is_usual else outcome.setting.name,
                "" if outcome.weights == "trained" else outcome.weights,
            )
            if part
        ): value.value
        for outcome in outcomes
        for value in outcome.values
        if value.class_name == MACRO and value.value is not None and not outcome.setting.repeat and not outcome.failed
        if not leading_only or value.metric == task(outcome.task).leading
    }
