"""The tables of the four papers, rebuilt: measured, published, their difference, and what differs in the data.

`data/paper_tables.yaml` says which published numbers make a table, which of ours stand beside them, and what differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import yaml

from evaluation.metrics.values import MACRO
from evaluation.results.store import MEASURED
from evaluation.results.summary import Measured, Row, summary
from evaluation.tables.comparisons import UNTRAINED, variant_of
from evaluation.tables.measured_rows import Key, Measurements, key_of, order
from evaluation.tables.published import DATA, Published, as_row, read_published

OTHER = "In no paper's table"


@dataclass(frozen=True)
class Line:
    """One number of a table, under our names; `printed` is the method as the paper prints it, with its backbone."""

    method: str
    printed: str
    cohort: str
    task: str
    setting: str
    metric: str
    class_name: str
    measured: Measured | None
    published: float | None  # a fraction
    notes: tuple[int, ...] = ()  # places in the table's `remarks`
    deviation: float | None = None  # of the published runs

    @property
    def difference(self) -> float | None:
        """Measured minus published, where there are both."""
        if self.measured is None or self.measured.value is None or self.published is None:
            return None
        return self.measured.value - self.published

    @property
    def simulated(self) -> bool:
        """Whether it was measured on drawn films."""
        return self.measured is not None and self.measured.simulated


@dataclass(frozen=True)
class PaperTable:
    """A table: `notes` hold for every line, `remarks` for those that point at them."""

    paper: str
    title: str
    notes: tuple[str, ...]
    lines: tuple[Line, ...]
    remarks: tuple[str, ...] = ()


@dataclass
class _Remarks:
    """Sentences, each told once and known by its place."""

    sentences: list[str] = field(default_factory=list)

    def places(self, sentences: Iterable[str]) -> tuple[int, ...]:
        found = []
        for sentence in dict.fromkeys(filter(None, sentences)):
            if sentence not in self.sentences:
                self.sentences.append(sentence)
            found.append(self.sentences.index(sentence))
        return tuple(sorted(found))


def paper_tables(results: pa.Table) -> list[PaperTable]:
    """Every table of the four papers beside the measured rows of `results`, and what stands in none of them by task.

    Several seeds and repeats of a method become one number; `results` must hold one run per method and seed.
    """
    measured = Measurements(row for row in results.to_pylist() if row["source"] == MEASURED)
    with (DATA / "paper_tables.yaml").open(encoding="utf-8") as file:
        papers = yaml.safe_load(file)["papers"].values()
    tables = [_table(paper, spec, measured) for paper in papers for spec in paper["tables"]]
    shown = {_key_of_line(line) for table in tables for line in table.lines}
    others = [key for key in measured.rows if key not in shown and key[-1] == MACRO]
    return [*tables, *(_rest(task, others, measured) for task in sorted({key[2] for key in others}))]


def _rest(task: str, others: Sequence[Key], measured: Measurements) -> PaperTable:
    """What was measured of a task and is in no paper's table."""
    told = _Remarks()
    chosen = sorted((key for key in others if key[2] == task), key=lambda key: (key[1], order(key)))
    lines = [_line(key, measured.of(key), notes=told.places(measured.remarks(key))) for key in chosen]
    return PaperTable(OTHER, task.replace("_", " ").capitalize(), (), tuple(lines), tuple(told.sentences))


def _table(paper: Mapping[str, Any], spec: Mapping[str, Any], measured: Measurements) -> PaperTable:
    told = _Remarks()
    lines = [_beside(number, paper, spec, measured, told) for number in _printed(paper, spec)]
    shown = {_key_of_line(line) for line in lines}
    cohorts = {line.cohort for line in lines} | set(spec.get("cohorts", ()))
    metrics = {line.metric for line in lines} | set(spec.get("measured", ()))
    class_name = spec.get("class", MACRO).lower()
    for key in sorted(measured.rows, key=order):
        method, cohort, task, _, metric, name = key
        listed = name == class_name or (spec.get("classes", False) and metric in spec.get("measured", metrics))
        whole = method.removeprefix(UNTRAINED) == variant_of(method)
        wanted = whole and task in spec.get("tasks", ()) and cohort in cohorts and metric in metrics
        if wanted and listed and key not in shown:
            differs = [paper["of_cohort"].get(cohort, ""), *measured.remarks(key)]
            lines.append(_line(key, measured.of(key), notes=told.places(differs)))
    notes = [*paper["notes"], *spec.get("notes", ()), *([spec["missing"]] if "missing" in spec else [])]
    return PaperTable(paper["title"], spec["title"], tuple(notes), tuple(lines), tuple(told.sentences))


def _printed(paper: Mapping[str, Any], spec: Mapping[str, Any]) -> list[Published]:
    """The published numbers of a table, in the order of its sources."""
    places = [(paper["source"], table) for table in spec.get("published", ())]
    places += [(source, table) for source, table in spec.get("also", ())]
    return [number for place in places for number in read_published() if (number.source, number.table) == place]


def _beside(
    number: Published, paper: Mapping[str, Any], spec: Mapping[str, Any], measured: Measurements, told: _Remarks
) -> Line:
    """A published number beside ours."""
    row = as_row(number)
    row["metric"] = spec.get("metrics", {}).get(number.metric, row["metric"])
    row["class"] = spec.get("class", row["class"])
    key = key_of(row)
    first, minus, second = row["method"].partition(" - ")
    one, other = ((name, *key[1:]) for name in (first, second))
    members = _differences(measured.of(one), measured.of(other)) if minus else measured.of(key)
    differs = [
        paper["of_cohort"].get(row["cohort"], ""),
        paper.get("of_method", {}).get(row["method"], ""),
        spec.get("of_method", {}).get(row["method"], ""),
        spec.get("of_class", {}).get(row["class"], ""),
        f"Published: pretrained on {number.pretraining_data}." if number.pretraining_data not in ("", "none") else "",
        number.remark and f"Published: {number.remark}.",
        *(measured.remarks(one) if members else ()),
    ]
    printed = ", ".join(part for part in (number.method, number.backbone) if part)
    return replace(_line(key, members, printed, row, told.places(differs)), deviation=number.deviation)


def _differences(found: Sequence[Row], others: Sequence[Row]) -> list[Row]:
    """The measured rows of one method minus those of another, of the same seed and repeat."""
    pairs = [(one, other) for one in found for other in others if _repeat(one) == _repeat(other)]
    known = [(one, other) for one, other in pairs if one["value"] is not None and other["value"] is not None]
    return [{**one, "value": one["value"] - other["value"], "low": None, "high": None} for one, other in known]


def _line(
    key: Key, members: Sequence[Row], printed: str = "", row: Row | None = None, notes: tuple[int, ...] = ()
) -> Line:
    """`row` has the published value, if there is one; else the names are those of what was measured."""
    names = row or members[0]
    method, cohort, task, _, metric, _ = key
    published = row["value"] if row else None
    measured = summary(members) if members else None
    return Line(method, printed, cohort, task, names["setting"], metric, names["class"], measured, published, notes)


def _repeat(row: Row) -> tuple[int, int]:
    return row["seed"], row["repeat"]


def _key_of_line(line: Line) -> Key:
    names = vars(line)
    return key_of({**names, "class": line.class_name})
