"""Methods side by side in a terminal: the leading metric of each task, a line per dataset and share of the labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from evaluation.metrics.values import MACRO
from evaluation.results.summary import UNTRAINED, Row, is_simulated, summarise_rows
from evaluation.results.text_tables import align
from evaluation.results.trainings import name_cohort
from evaluation.tasks.registry import task, task_names

NOTE = "Means over classes, without intervals, which stand in the tables of each dataset."

FRACTION = re.compile(r"[\d.]+")
Place = tuple[str, bool, str]  # dataset, whether it is simulated, setting


def compare_methods(rows: Iterable[Row], about: str) -> str:
    """The tables, one below the other, for rows of networks that were pretrained on one cohort.

    Every title ends with `about`.
    """
    leading = {name: task(name).leading for name in task_names()}
    kept: dict[str, list[Row]] = {}
    for row in rows:
        if row["class"] == MACRO and row["metric"] == leading.get(row["task"]):
            kept.setdefault(row["task"], []).append(row)
    tables = [f"{name}, {leading[name]} · {about}\n{align(_build(kept[name]), 2)}" for name in leading if name in kept]
    return "\n\n".join([*tables, NOTE])


def _build(rows: Sequence[Row]) -> list[list[str]]:
    """The head, then for each place a line of the trained networks and one of the same before training."""
    numbers: dict[Place, dict[str, list[Row]]] = {}
    for row in rows:
        place = (row["cohort"], is_simulated(row), row["setting"])
        numbers.setdefault(place, {}).setdefault(row["method"], []).append(row)
    methods = sorted({row["method"] for row in rows if not row["method"].startswith(UNTRAINED)})
    lines = [["dataset", "labels", *methods]]
    for place in sorted(numbers, key=_order):
        cohort, simulated, setting = place
        lines.append([name_cohort(cohort, simulated), setting, *_cells(numbers[place], methods)])
        raw = _cells(numbers[place], [UNTRAINED + method for method in methods])
        lines += [["  untrained", "", *raw]] if any(raw) else []
    return lines


def _cells(numbers: Mapping[str, Sequence[Row]], methods: Sequence[str]) -> list[str]:
    cells = []
    for method in methods:
        found = summarise_rows(numbers[method]) if method in numbers else None
        cells.append(
            "" if found is None else found.state if found.value is None else f"{found.value:.3f}{found.outdated_mark}"
        )
    return cells


def _order(place: Place) -> tuple[object, ...]:
    """By dataset, then by the share of the labels, a tuned encoder last."""
    cohort, simulated, setting = place
    share = setting.partition(" %")[0]
    return cohort, simulated, setting.endswith("tuned"), float(share) if FRACTION.fullmatch(share) else 0.0, setting
