"""Results as tables for the terminal and in Markdown, with methods side by side.

Every metric has a row for the mean over classes. Single classes are listed for the leading metrics only.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import groupby

import pyarrow as pa

from evaluation.metrics.values import MACRO
from evaluation.results.markdown import escape_markdown, markdown_table
from evaluation.results.summary import UNTRAINED, Row, is_simulated, summarise_rows

SIMULATION_NOTE = (
    "Numbers on simulated images show that a method learns what it is designed to learn and that the software works. "
    "They say nothing about patients."
)
INTERVAL_NOTE = (
    "Brackets hold 95 % intervals (bootstrap by patient). n counts images, or studies where the setting says so; for "
    "macro it counts the averaged classes. "
    "An interval over a handful of images says little."
)
LEADING = (  # at least one of each task
    "auroc",
    "pointing_game",
    "contrast_to_noise",
    "precision_at_5",
    "recall_at_1",
    "map",
    "dice",
)
GAP = "  "  # between columns
WIDTH = 100  # characters of a terminal that every line fits


def as_text(results: pa.Table, per_class: Sequence[str] = LEADING, about: str = "") -> str:
    """Aligned tables for the terminal: value [low, high], one column per method, at most WIDTH characters wide.

    A table of many methods continues below itself. A class stands below its metric. Every title ends with `about`.
    """
    end = f" · {about}" if about else ""
    parts = [f"{title}{end}\n{align(_indent_classes(rows), 2)}" for title, rows in _build_tables(results, per_class)]
    notes = [*_list_reasons(results), *_list_notes(results)]
    return "\n\n".join([*parts, *(textwrap.fill(note, WIDTH) for note in notes)])


def as_markdown(results: pa.Table, per_class: Sequence[str] = LEADING) -> str:
    """The same tables in Markdown."""
    parts = [
        f"### {escape_markdown(title)}\n\n{markdown_table(rows[0], rows[1:])}"
        for title, rows in _build_tables(results, per_class)
    ]
    return "\n\n".join([*parts, *map(escape_markdown, _list_reasons(results)), *_list_notes(results)])


def _list_notes(results: pa.Table) -> list[str]:
    if not len(results):
        return ["There are no results yet."]
    simulated = any(map(is_simulated, results.to_pylist()))
    return [INTERVAL_NOTE, SIMULATION_NOTE] if simulated else [INTERVAL_NOTE]


def _list_reasons(results: pa.Table) -> list[str]:
    """List why numbers are missing: each reason once, with the measurements that it applies to."""
    found: dict[str, dict[str, None]] = {}
    for row in sorted((row for row in results.to_pylist() if row["note"]), key=_make_table_key):
        found.setdefault(row["note"], {})[" · ".join((row["method"], *_make_table_key(row)))] = None
    return [f"{note} ({'; '.join(where)})" for note, where in found.items()]


def _build_tables(results: pa.Table, per_class: Sequence[str]) -> list[tuple[str, list[list[str]]]]:
    """Title and rows of text (the first row is the head) per cohort, task and setting."""
    tables = []
    rows = sorted(results.to_pylist(), key=_make_table_key)  # stable: metrics and classes stay in their order
    for place, group in groupby(rows, key=_make_table_key):
        members = list(group)
        labels = _label_columns(members)
        numbers: dict[tuple[str, str], dict[str, list[Row]]] = {}
        unscored: dict[str, list[Row]] = {}
        for row in members:
            if row["note"] and row["value"] is None:
                unscored.setdefault(labels[_make_column_key(row)], []).append(row)
            number = numbers.setdefault((row["metric"], row["class"]), {})
            number.setdefault(labels[_make_column_key(row)], []).append(row)
        columns = sorted(set(labels.values()), key=_rank_label)
        order = list(dict.fromkeys(metric for metric, _ in numbers))
        lines = [["metric", "class", "n", *columns]]
        for metric, name in sorted(numbers, key=lambda key: (order.index(key[0]), key[1] != MACRO)):
            if name == MACRO or metric in per_class:
                found = numbers[metric, name]
                counts = "/".join(dict.fromkeys(str(row["n"]) for repeats in found.values() for row in repeats))
                lines.append([metric, name, counts, *(format_value(found.get(c) or unscored.get(c)) for c in columns)])
        title = " · ".join([*place, *(["simulated"] if any(map(is_simulated, members)) else [])])
        tables.append((title, lines))
    return tables


def _make_table_key(row: Row) -> tuple[str, str, str]:
    return row["cohort"], row["task"], row["setting"]


def _make_column_key(row: Row) -> tuple[str, str, int, str]:
    """The key of a column. The repeats of one network share a column."""
    return row["method"], row["checkpoint"], row["seed"], row["source"]


def _label_columns(rows: Sequence[Row]) -> dict[tuple[str, str, int, str], str]:
    """Name the columns: by method, and by checkpoint and seed too where a method has several columns."""
    producers = list(dict.fromkeys(_make_column_key(row) for row in rows))
    methods = [method for method, *_ in producers]
    labels = {}
    for producer in producers:
        method, checkpoint, seed, source = producer
        label = method if methods.count(method) == 1 else f"{method} {checkpoint[:8]} seed {seed}"
        labels[producer] = label if source == "measured" else f"{label} ({source})"
    return labels


def _rank_label(label: str) -> tuple[int, str]:
    """Trained methods come first, then untrained ones, then the supervised one."""
    return (2 if label.startswith("supervised") else int(label.startswith(UNTRAINED)), label)


def format_value(repeats: Sequence[Row] | None) -> str:
    """A number with its interval, the mean of several repeats with their std, or why there is no number."""
    if repeats is None:
        return ""
    summary = summarise_rows(repeats)
    if summary.value is None:
        return summary.state
    if summary.std is not None:
        return f"{summary.value:.3f} ± {summary.std:.3f} ({summary.repeated}){summary.outdated_mark}"
    interval = "" if summary.low is None else f" [{summary.low:.3f}, {summary.high:.3f}]"
    return f"{summary.value:.3f}{interval}{summary.outdated_mark}"


def _indent_classes(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The rows with metric and class in one column: the metric for the mean over classes, else the class below it."""
    lines = [["metric", *rows[0][2:]]]
    above = ""
    for metric, name, *cells in rows[1:]:
        if name != MACRO and metric != above:
            lines.append([metric, *[""] * len(cells)])
        above = metric
        lines.append([metric if name == MACRO else f" {name}", *cells])
    return lines


def align(rows: Sequence[Sequence[str]], repeated: int = 1) -> str:
    """A table of text, its head first; columns that WIDTH has no room for follow below it.

    The first `repeated` columns begin each part.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    parts: list[list[int]] = []
    for column in range(repeated, len(widths)):
        part = [*(parts[-1] if parts else range(repeated)), column]
        if parts and sum(widths[place] + len(GAP) for place in part) - len(GAP) <= WIDTH:
            parts[-1] = part
        else:
            parts.append([*range(repeated), column])
    return "\n\n".join(_align(rows, [(place, widths[place]) for place in part]) for part in parts)


def _align(rows: Sequence[Sequence[str]], columns: Sequence[tuple[int, int]]) -> str:
    lines = [GAP.join(row[place].ljust(width) for place, width in columns).rstrip() for row in rows]
    return "\n".join([lines[0], GAP.join("-" * width for _, width in columns), *lines[1:]])
