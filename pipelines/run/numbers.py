"""The leading numbers of a method, as the last lines of its run."""

from __future__ import annotations

from collections.abc import Iterator

from evaluation.metrics.values import MACRO
from evaluation.results.latest import latest_results
from evaluation.tasks.registry import task
from ingestion.workspace import Workspace

COLUMNS = ("method", "dataset", "task", "setting", "metric", "value")


def leading_numbers(workspace: Workspace, method: str, every_dataset: bool) -> Iterator[str]:
    """A table of the leading metric of each task of the latest runs of `method`, trained and untrained, by line.

    `every_dataset`: also of other datasets than that of the pretraining.
    """
    rows = [
        (row["method"], row["cohort"], row["task"], row["setting"], row["metric"], interval(row))
        for row in latest_results(workspace, every_dataset).to_pylist()
        if row["method"].removeprefix("untrained:").partition(":")[0] == method
        if row["class"] == MACRO and row["value"] is not None and row["metric"] == task(row["task"]).leading
    ]
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    for row in (COLUMNS, *sorted(rows, key=lambda row: (row[1:4], row[0]))):
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def interval(row: dict[str, float | None]) -> str:
    """A number with its 95 % interval."""
    bounds = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['value']:.3f}{bounds}"
