"""The results of a home as papers print them: per task a matrix of methods by datasets and label fractions.

There is a group of matrices per cohort that networks were pretrained on, and numbers of different groups are never
compared. A column holds what was measured on the same data. A method's number stands beside its own untrained network's
and beside those published numbers that the tables of the papers compare it with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from evaluation.metrics.values import MACRO
from evaluation.results.files import MEASURED
from evaluation.results.summary import UNTRAINED, MeasuredValue, Row, summarise_rows
from evaluation.tables.comparisons import Pair, is_released
from evaluation.tables.measured_rows import make_key, sort_key
from evaluation.tables.paper_tables import PaperTable
from evaluation.tasks.registry import task, task_names

LEVEL = 0.05  # of a difference that is marked, after Holm's rule
BEST, SECOND = 1, 2
FROM_UNTRAINED, FROM_SECOND = "*", "†"
DIGITS = {"contrast_to_noise": 2}  # of the printed numbers; the others are percent with one decimal


@dataclass(frozen=True, order=True)
class Column:
    """Numbers on the same data, learnt from the same share of the labels."""

    cohort: str
    setting: str
    data_version: str = ""  # set where a cohort has been measured in several
    simulated: bool = False


@dataclass(frozen=True)
class PublishedValue:
    """A published number beside a measured one."""

    value: float  # a fraction
    source: str  # the paper, its table, and the method as printed there


@dataclass(frozen=True)
class Cell:
    """A method on a column's data."""

    measured: MeasuredValue
    untrained: MeasuredValue | None = None
    published: tuple[PublishedValue, ...] = ()
    rank: int = 0  # BEST, SECOND, or 0
    marks: str = ""  # FROM_UNTRAINED: differs from its untrained network; FROM_SECOND: the best, and it differs


@dataclass(frozen=True)
class Matrix:
    """The leading metric of a task."""

    task: str
    metric: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]  # of each method, a cell per column

    @property
    def title(self) -> str:
        """The task, in words."""
        return self.task.replace("zero_shot", "zero-shot").replace("_", " ").capitalize()


@dataclass(frozen=True)
class Group:
    """The matrices of all networks that were pretrained on a cohort."""

    pretraining: str
    matrices: tuple[Matrix, ...]
    simulation: bool = False  # whether they were pretrained on simulated images

    def cells(self) -> list[Cell]:
        """All of them."""
        return [cell for matrix in self.matrices for _, cells in matrix.rows for cell in cells if cell]

    @property
    def simulated(self) -> bool:
        """Whether a number comes from a simulation."""
        return self.simulation or any(column.simulated for matrix in self.matrices for column in matrix.columns)


def build_group(
    pretraining: str,
    rows: Iterable[Row],
    tables: Sequence[PaperTable],
    pairs: Sequence[Pair],
    simulation: bool = False,
) -> Group:
    """The matrices of the measured `rows` of networks that were all pretrained on one cohort.

    `pairs` are those of the same rows; `tables` have published numbers beside them. `rows` must hold one run per method
    and seed. `simulation`: whether the cohort is one.
    """
    leading = {name: task(name).leading for name in task_names()}
    kept: dict[str, list[Row]] = {}
    for row in rows:
        if row["source"] == MEASURED and row["class"] == MACRO and row["metric"] == leading.get(row["task"]):
            kept.setdefault(row["task"], []).append(row)
    published = _index_published(tables)
    found = (_build(name, kept[name], published, pairs) for name in leading if name in kept)
    return Group(pretraining, tuple(matrix for matrix in found if matrix.rows), simulation)


def _build(
    name: str, rows: Sequence[Row], published: Mapping[tuple[str, ...], Sequence[PublishedValue]], pairs: Sequence[Pair]
) -> Matrix:
    versions: dict[str, set[str]] = {}
    for row in rows:
        if row["value"] is not None:
            versions.setdefault(row["cohort"], set()).add(row["data_version"])
    numbers: dict[tuple[str, Column], list[Row]] = {}
    for row in rows:
        version = row["data_version"] if len(versions.get(row["cohort"], ())) > 1 else ""
        column = Column(row["cohort"], row["setting"], version, bool(row["simulated"]) or row["cohort"] == "phantom")
        numbers.setdefault((row["method"], column), []).append(row)
    columns = sorted({column for _, column in numbers}, key=_column_order)
    methods = sorted({method for method, _ in numbers if not method.startswith(UNTRAINED)})
    metric = task(name).leading
    cells: dict[tuple[str, Column], Cell] = {}
    for method in methods:
        for column in columns:
            if members := numbers.get((method, column)):
                raw = numbers.get((UNTRAINED + method, column))
                key = make_key({**members[0], "class": MACRO})
                cells[method, column] = Cell(
                    summarise_rows(members), summarise_rows(raw) if raw else None, tuple(published.get(key, ()))
                )
    for column in columns:
        _rank(cells, methods, column, name, metric, pairs)
    lines = tuple((method, tuple(cells.get((method, column)) for column in columns)) for method in methods)
    return Matrix(name, metric, tuple(columns), lines)


def _rank(
    cells: dict[tuple[str, Column], Cell],
    methods: Sequence[str],
    column: Column,
    name: str,
    metric: str,
    pairs: Sequence[Pair],
) -> None:
    """Mark the best and the second of a column, in place; ties of the printed numbers share a rank.

    Where the means of two methods are over different numbers of classes, there is no best one. Released weights have no
    rank: they were trained on other data.
    """
    here = [pair for pair in pairs if _is_of(pair, column, name, metric)]
    found = {method: cells[method, column] for method in methods if _counts(cells.get((method, column)))}
    scored = {method: cell for method, cell in found.items() if not is_released(method)}
    unlike = len({cell.measured.n for cell in scored.values()}) > 1
    digits = DIGITS.get(metric, 3)
    printed = {method: round(cell.measured.value or 0.0, digits) for method, cell in scored.items()}
    levels: list[float] = sorted(set(printed.values()), reverse=True)
    best = [method for method in scored if printed[method] in levels[:1]]
    seconds = [method for method in scored if len(best) == 1 and len(levels) > 1 and printed[method] == levels[1]]
    for method, cell in found.items():
        rank = 0 if len(scored) < 2 or unlike else BEST if method in best else SECOND if method in seconds else 0
        apart = [FROM_UNTRAINED] if cell.untrained and _differ(here, method, UNTRAINED + method) else []
        if rank == BEST and seconds and all(_differ(here, method, other) for other in seconds):
            apart.append(FROM_SECOND)
        cells[method, column] = Cell(cell.measured, cell.untrained, cell.published, rank, "".join(apart))


def _counts(cell: Cell | None) -> bool:
    """Whether a cell has a number that may be compared with others of its column."""
    return cell is not None and cell.measured.value is not None and not cell.measured.outdated


def _is_of(pair: Pair, column: Column, name: str, metric: str) -> bool:
    place = (pair.cohort, pair.setting, pair.task, pair.metric, pair.class_name)
    same_data = column.data_version in ("", pair.data_version)
    return same_data and place == (column.cohort, column.setting, name, metric, MACRO)


def _differ(pairs: Sequence[Pair], one: str, other: str) -> bool:
    """Whether two methods differ in every seed and repeat in which they were compared."""
    compared = [pair.adjusted_p for pair in pairs if {pair.first, pair.second} == {one, other}]
    return bool(compared) and all(p < LEVEL for p in compared)


def _index_published(tables: Sequence[PaperTable]) -> dict[tuple[str, ...], list[PublishedValue]]:
    """The published numbers by the key of the measured number that a table of a paper compares them with."""
    found: dict[tuple[str, ...], list[PublishedValue]] = {}
    for table in tables:
        for line in table.lines:
            if line.difference is not None and line.published is not None:
                names = {name: getattr(line, name) for name in ("method", "cohort", "task", "setting", "metric")}
                source = f"{table.paper}, {table.title}: {line.printed}"
                values = found.setdefault(make_key({**names, "class": line.class_name}), [])
                if (value := PublishedValue(line.published, source)) not in values:
                    values.append(value)
    return found


def _column_order(column: Column) -> tuple[object, ...]:
    place = sort_key(("", "", "", column.setting, "", ""))[2:]
    return column.cohort, *place, column.setting, column.data_version, column.simulated
