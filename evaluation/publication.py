"""The tables of the four papers, rebuilt: measured, published, their difference, and what differs in the data.

`data/paper_tables.yaml` says which published numbers make a table, which of ours stand beside them, and what differs;
`data/traps.csv` what the published protocols get wrong and what is done instead.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import yaml

from evaluation.published import DATA, FRACTION, Published, as_row, read_published
from evaluation.results import MEASURED
from evaluation.statistics import over_seeds
from evaluation.values import MACRO

OTHER = "In no paper's table"

Row = Mapping[str, Any]
Key = tuple[str, str, str, str, str, str]  # method, cohort, task, level, metric, class


@dataclass(frozen=True)
class Measured:
    """A measured number: one seed with its interval, or the mean of several with their deviation."""

    value: float | None  # None: it could not be scored, or failed
    low: float | None
    high: float | None
    deviation: float | None
    seeds: int
    n: int
    runs: tuple[str, ...]  # of MLflow
    note: str


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

    @property
    def difference(self) -> float | None:
        """Measured minus published, where there are both."""
        if self.measured is None or self.measured.value is None or self.published is None:
            return None
        return self.measured.value - self.published


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
    """Every table of the four papers beside the measured rows of `results`, and one of what stands in none of them.

    Several seeds of a method become one number; `results` must hold one run per method and seed.
    """
    measured = _measured(row for row in results.to_pylist() if row["source"] == MEASURED)
    with (DATA / "paper_tables.yaml").open(encoding="utf-8") as file:
        papers = yaml.safe_load(file)["papers"].values()
    tables = [_table(paper, spec, measured) for paper in papers for spec in paper["tables"]]
    shown = {_key_of(line) for table in tables for line in table.lines}
    others = [_line(key, members) for key, members in measured.items() if key not in shown and key[-1] == MACRO]
    return [*tables, PaperTable(OTHER, "Everything else that was measured", (), tuple(others))]


def read_traps() -> list[tuple[str, str]]:
    """What the published protocols get wrong, and what is done here instead."""
    with (DATA / "traps.csv").open(newline="", encoding="utf-8") as file:
        return [(row["trap"], row["instead"]) for row in csv.DictReader(file)]


def _table(paper: Mapping[str, Any], spec: Mapping[str, Any], measured: Mapping[Key, Sequence[Row]]) -> PaperTable:
    remarks = _Remarks()
    lines = [_beside(number, paper, spec, measured, remarks) for number in _printed(paper, spec)]
    shown = {_key_of(line) for line in lines}
    cohorts = {line.cohort for line in lines} | set(spec.get("cohorts", ()))
    metrics = {line.metric for line in lines} | set(spec.get("measured", ()))
    for key, members in measured.items():
        _, cohort, task, _, metric, name = key
        wanted = task in spec.get("tasks", ()) and cohort in cohorts and metric in metrics
        if wanted and key not in shown and (name == MACRO or spec.get("classes", False)):
            lines.append(_line(key, members, notes=remarks.places([paper["of_cohort"].get(cohort, "")])))
    notes = [*paper["notes"], *spec.get("notes", ()), *([spec["missing"]] if "missing" in spec else [])]
    return PaperTable(paper["title"], spec["title"], tuple(notes), tuple(lines), tuple(remarks.sentences))


def _printed(paper: Mapping[str, Any], spec: Mapping[str, Any]) -> list[Published]:
    """The published numbers of a table, in the order of its sources."""
    places = [(paper["source"], table) for table in spec.get("published", ())]
    places += [(source, table) for source, table in spec.get("also", ())]
    return [number for place in places for number in read_published() if (number.source, number.table) == place]


def _beside(
    number: Published,
    paper: Mapping[str, Any],
    spec: Mapping[str, Any],
    measured: Mapping[Key, Sequence[Row]],
    remarks: _Remarks,
) -> Line:
    """A published number beside ours."""
    row = as_row(number)
    row["metric"] = spec.get("metrics", {}).get(number.metric, row["metric"])
    differs = [
        paper["of_cohort"].get(row["cohort"], ""),
        paper.get("of_method", {}).get(row["method"], ""),
        spec.get("of_method", {}).get(row["method"], ""),
        f"Published: pretrained on {number.pretraining_data}." if number.pretraining_data not in ("", "none") else "",
        number.notes and f"Published: {number.notes}.",
    ]
    printed = ", ".join(part for part in (number.method, number.backbone) if part)
    return _line(_key(row), _found(row, measured), printed, row, remarks.places(differs))


def _found(row: Row, measured: Mapping[Key, Sequence[Row]]) -> list[Row]:
    """The measured rows beside a published one; of a difference of two methods, their differences by seed."""
    first, minus, second = row["method"].partition(" - ")
    found, others = (list(measured.get(_key({**row, "method": name}), ())) for name in (first, second))
    if not minus:
        return found
    pairs = [(one, other) for one in found for other in others if one["seed"] == other["seed"]]
    known = [(one, other) for one, other in pairs if one["value"] is not None and other["value"] is not None]
    return [{**one, "value": one["value"] - other["value"], "low": None, "high": None} for one, other in known]


def _line(
    key: Key, members: Sequence[Row], printed: str = "", row: Row | None = None, notes: tuple[int, ...] = ()
) -> Line:
    """`row` has the published value, if there is one; else the names are those of what was measured."""
    names = row or members[0]
    method, cohort, task, _, metric, _ = key
    published = row["value"] if row else None
    measured = _summary(members) if members else None
    return Line(method, printed, cohort, task, names["setting"], metric, names["class"], measured, published, notes)


def _summary(members: Sequence[Row]) -> Measured:
    scored = [row for row in members if row["value"] is not None]
    runs = tuple(dict.fromkeys(row["mlflow_run"] for row in members if row["mlflow_run"]))
    notes = "; ".join(dict.fromkeys(row["note"] for row in members if row.get("note")))
    if len(scored) < 2:
        row = (scored or members)[0]
        return Measured(row["value"], row["low"], row["high"], None, len(scored), row["n"], runs, notes)
    spread = over_seeds([row["value"] for row in scored])
    return Measured(spread.mean, None, None, spread.deviation, spread.seeds, scored[0]["n"], runs, notes)


def _measured(rows: Iterable[Row]) -> dict[Key, list[Row]]:
    found: dict[Key, list[Row]] = {}
    for row in rows:
        found.setdefault(_key(row), []).append(row)
    return found


def _key(row: Row) -> Key:
    """What a measured and a published row have in common, whatever the spelling of settings and classes."""
    name = row["class"].lower().replace("_", " ")
    return row["method"], row["cohort"], row["task"], _level(row["setting"]), row["metric"], name


def _key_of(line: Line) -> Key:
    names = vars(line)
    return _key({**names, "class": line.class_name})


def _level(setting: str) -> str:
    """The fraction of the labels and whether the encoder is tuned; the setting itself where it names no fraction."""
    fraction = FRACTION.search(setting)
    if not fraction:
        return setting
    return f"{fraction[1]} %{' tuned' if 'tun' in setting else ''}"
