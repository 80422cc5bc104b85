"""Builds the tables of the papers with measured and published numbers, their difference, and what differs in the data.

`data/paper_tables.yaml` says which published numbers form a table, which measured numbers are added, and what differs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import yaml

from evaluation.metrics.values import MACRO
from evaluation.results.store import MEASURED
from evaluation.results.summary import UNTRAINED, MeasuredValue, Row, describe_rows, summarise_rows
from evaluation.tables.comparisons import base_method
from evaluation.tables.measured_rows import Key, MeasuredRows, make_key, sort_key
from evaluation.tables.published import DATA, PublishedNumber, averaged_classes, read_published, to_row

OTHER = "In no paper's table"
Measured = Mapping[str, MeasuredRows]  # by the cohort of the pretraining, the newest first


@dataclass(frozen=True)
class Line:
    """One number of a table, under the names of this project. `printed` is the method as printed, with its backbone."""

    method: str
    printed: str
    cohort: str
    task: str
    setting: str
    metric: str
    class_name: str
    measured: MeasuredValue | None
    published: float | None  # a fraction
    notes: tuple[int, ...] = ()  # places in the table's `remarks`
    std: float | None = None  # of the published runs
    pretraining: str = ""  # the cohort that the measured network was pretrained on

    @property
    def difference(self) -> float | None:
        """Measured minus published, where both are known."""
        if self.measured is None or self.measured.value is None or self.published is None:
            return None
        return self.measured.value - self.published

    @property
    def outdated(self) -> bool:
        """Whether the measured number may be none of what the dataset is now."""
        return self.measured is not None and self.measured.outdated

    @property
    def simulated(self) -> bool:
        """Whether the number was measured on simulated images."""
        return self.measured is not None and self.measured.simulated


@dataclass(frozen=True)
class PaperTable:
    """A table. `notes` hold for every line, `remarks` for the lines that refer to them."""

    paper: str
    title: str
    notes: tuple[str, ...]
    lines: tuple[Line, ...]
    remarks: tuple[str, ...] = ()

    def count_measured(self) -> int:
        """How many lines were measured."""
        return sum(line.measured is not None for line in self.lines)


@dataclass
class _Remarks:
    """Sentences of a table. Each is kept once, and lines refer to it by its place."""

    sentences: list[str] = field(default_factory=list)

    def add(self, sentences: Iterable[str]) -> tuple[int, ...]:
        found = []
        for sentence in dict.fromkeys(filter(None, sentences)):
            if sentence not in self.sentences:
                self.sentences.append(sentence)
            found.append(self.sentences.index(sentence))
        return tuple(sorted(found))


@cache
def read_papers() -> dict[str, Any]:
    """The papers and their tables, as `data/paper_tables.yaml` has them."""
    with (DATA / "paper_tables.yaml").open(encoding="utf-8") as file:
        papers: dict[str, Any] = yaml.safe_load(file)["papers"]
    return papers


def build_tables(
    results: Mapping[str, pa.Table], departures: Mapping[str, Mapping[str, str]] = MappingProxyType({})
) -> list[PaperTable]:
    """Build every table of the papers from the measured rows of `results`, and a table per task for the other rows.

    `results` are those of the networks that were pretrained on each cohort. A number that was measured for several has
    a line for each. Several seeds and repeats of a method become one number; the results of a cohort must hold one run
    per method and seed. `departures` say by cohort and network how it was made, where that is not a training
    with a paper's preset.
    """
    measured = {
        cohort: MeasuredRows((row for row in table.to_pylist() if row["source"] == MEASURED), departures.get(cohort))
        for cohort, table in results.items()
    }
    tables = [_build_table(paper, spec, measured) for paper in read_papers().values() for spec in paper["tables"]]
    shown = {_make_line_key(line) for table in tables for line in table.lines}
    others = {key for rows in measured.values() for key in rows.rows if key not in shown and key[-1] == MACRO}
    return [*tables, *(_build_remaining(task, others, measured) for task in sorted({key[2] for key in others}))]


def _build_remaining(task: str, others: Collection[Key], measured: Measured) -> PaperTable:
    """A table of the measured numbers of a task that are in no paper's table."""
    remarks = _Remarks()
    lines = []
    for key in sorted((key for key in others if key[2] == task), key=lambda key: (key[1], sort_key(key))):
        for cohort, rows in measured.items():
            if key in rows.rows:
                notes = remarks.add([rows.describe_training(key[0]), *rows.describe(key)])
                line = _make_line(key, rows.find(key), notes=notes)
                lines.append(replace(line, pretraining=cohort))
    return PaperTable(OTHER, task.replace("_", " ").capitalize(), (), tuple(lines), tuple(remarks.sentences))


def _build_table(paper: Mapping[str, Any], spec: Mapping[str, Any], measured: Measured) -> PaperTable:
    paper = {**paper, "of_cohort": {**paper["of_cohort"], **spec.get("of_cohort", {})}}
    remarks = _Remarks()
    lines = [
        line
        for number in _find_published(paper, spec)
        for line in _compare_published(number, paper, spec, measured, remarks)
    ]
    shown, printed = {_make_line_key(line) for line in lines}, {line.method for line in lines}
    cohorts = {line.cohort for line in lines} | set(spec.get("cohorts", ()))
    metrics = {line.metric for line in lines} | set(spec.get("measured", ()))
    class_name = spec.get("class", MACRO).lower()
    for key, pretraining in sorted(_keys(measured), key=lambda found: sort_key(found[0])):
        rows = measured[pretraining]
        method, cohort, task, _, metric, name = key
        listed = name == class_name or (spec.get("classes", False) and metric in spec.get("measured", metrics))
        whole = method.removeprefix(UNTRAINED) == base_method(method)  # variants follow where the paper has them
        wanted = (
            (whole or method in printed) and task in spec.get("tasks", ()) and cohort in cohorts and metric in metrics
        )
        if wanted and listed and key not in shown:
            differs = [paper["of_cohort"].get(cohort, ""), rows.describe_training(method), *rows.describe(key)]
            line = _make_line(key, rows.find(key), notes=remarks.add(differs))
            lines.append(replace(line, pretraining=pretraining))
    notes = [*paper["notes"], *spec.get("notes", ()), *([spec["missing"]] if "missing" in spec else [])]
    return PaperTable(paper["title"], spec["title"], tuple(notes), tuple(lines), tuple(remarks.sentences))


def _keys(measured: Measured) -> list[tuple[Key, str]]:
    """Every measured number and the cohort of its pretraining, the newest first."""
    return [(key, cohort) for cohort, rows in measured.items() for key in rows.rows]


def _find_published(paper: Mapping[str, Any], spec: Mapping[str, Any]) -> list[PublishedNumber]:
    """The published numbers of a table, in the order of its sources."""
    places = [(paper["source"], table) for table in spec.get("published", ())]
    places += [(source, table) for source, table in spec.get("also", ())]
    return [number for place in places for number in read_published() if (number.source, number.table) == place]


def _compare_published(
    number: PublishedNumber,
    paper: Mapping[str, Any],
    spec: Mapping[str, Any],
    measured: Measured,
    remarks: _Remarks,
) -> list[Line]:
    """A line with a published number and the measured one for each pretraining; without one where there is none."""
    row = to_row(number)
    row["metric"] = spec.get("metrics", {}).get(number.metric, row["metric"])
    row["class"] = spec.get("class", row["class"])
    key = make_key(row)
    first, minus, second = row["method"].partition(" - ")
    one, other = ((name, *key[1:]) for name in (first, second))
    found: dict[str, list[Row]] = {}
    for cohort, rows in measured.items():
        if members := _find_measured(rows, number, key, (one, other) if minus else ()):
            found[cohort] = members
    differs = [
        paper["of_cohort"].get(row["cohort"], ""),
        paper.get("of_method", {}).get(row["method"], ""),
        spec.get("of_method", {}).get(row["method"], ""),
        spec.get("of_class", {}).get(row["class"], ""),
        f"Published: pretrained on {number.pretraining_data}." if number.pretraining_data not in ("", "none") else "",
        number.remark and f"Published: {number.remark}.",
    ]
    printed = ", ".join(part for part in (number.method, number.backbone) if part)
    lines = []
    for cohort, members in found.items() if found else [("", [])]:
        networks = (first, second) if minus else (row["method"],)
        described = (measured[cohort].describe(one) or describe_rows(members)) if members else []
        trained = [measured[cohort].describe_training(name) for name in networks] if members else []
        notes = remarks.add([*differs, *trained, *described])
        lines.append(replace(_make_line(key, members, printed, row, notes), std=number.std, pretraining=cohort))
    return lines


def _find_measured(rows: MeasuredRows, number: PublishedNumber, key: Key, difference: Sequence[Key]) -> list[Row]:
    """What stands beside a printed number: rows of `key`, their mean over fewer classes, or a `difference` of two."""
    if difference:
        return _subtract_rows(*(rows.find(one) for one in difference))
    classes = averaged_classes(number)
    return rows.average(key, classes) if classes else rows.find(key)


def _subtract_rows(found: Sequence[Row], others: Sequence[Row]) -> list[Row]:
    """The measured rows of one method minus those of another, of the same seed, repeat and data."""
    pairs = [(one, other) for one in found for other in others if _identify_repeat(one) == _identify_repeat(other)]
    known = [(one, other) for one, other in pairs if one["value"] is not None and other["value"] is not None]
    return [
        {
            **one,
            "value": one["value"] - other["value"],
            "low": None,
            "high": None,
            "note": one["note"] or other["note"],  # of outdated data
        }
        for one, other in known
    ]


def _make_line(
    key: Key, members: Sequence[Row], printed: str = "", row: Row | None = None, notes: tuple[int, ...] = ()
) -> Line:
    """`row` has the published value and names; without it, the names are those of the measured rows."""
    names = row or members[0]
    method, cohort, task, _, metric, _ = key
    published = row["value"] if row else None
    measured = summarise_rows(members) if members else None
    return Line(method, printed, cohort, task, names["setting"], metric, names["class"], measured, published, notes)


def _identify_repeat(row: Row) -> tuple[object, ...]:
    """What two rows share that may be subtracted; n is that of the images, or of the classes of a mean."""
    return row["seed"], row["repeat"], row["data_version"], row["n"]


def _make_line_key(line: Line) -> Key:
    names = vars(line)
    return make_key({**names, "class": line.class_name})
