"""A matrix in words, for every format: a line per method, below it its untrained network and published numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from evaluation.results.summary import MeasuredValue
from evaluation.results.trainings import name_cohort
from evaluation.tables.matrices import Cell, Column, Group, Matrix
from evaluation.tables.texts import format_letters, format_number

MEASURED, RAW, PUBLISHED = "measured", "untrained", "published"
OUTDATED_TEXT = "outdated"  # beside a number on data that the dataset no longer is
RESULTS_TITLE = "Results of this home"
MATRIX_NOTE = (
    "In percent, except the contrast to noise. The best of a column is bold, the second underlined. Brackets: 95 % "
    "interval by patient; ±: std of seeds and repeats. *: differs from the same network before training. †: the best "
    "differs from the second. Both by paired bootstrap, p < 0.05 after Holm's rule, in every seed and repeat. "
    "Published numbers were measured by others on other data, and are not ranked. Neither are means over different "
    "numbers of classes, nor outdated numbers, whose dataset has become another since. `:released` marks weights "
    "that were imported, not trained here, and are not ranked."
)


@dataclass(frozen=True)
class CellText:
    """A cell of a line."""

    value: str = ""
    spread: str = ""  # the interval, or std and counts
    rank: int = 0  # matrices.BEST, matrices.SECOND, or 0
    marks: str = ""
    hint: str = ""  # why there is no value
    runs: tuple[str, ...] = ()  # of MLflow


@dataclass(frozen=True)
class MatrixLine:
    """A line of a matrix."""

    method: str
    kind: str  # MEASURED, RAW or PUBLISHED
    cells: tuple[CellText, ...]


@dataclass(frozen=True)
class MatrixText:
    """A matrix in words."""

    title: str
    columns: tuple[Column, ...]
    lines: tuple[MatrixLine, ...]
    sources: tuple[str, ...]  # of the published numbers, which refer to them by letters

    @property
    def heads(self) -> list[str]:
        """The columns' names, in one line each."""
        return [f"{name_data(column)}, {column.setting}" for column in self.columns]


def title_of(group: Group) -> str:
    """Whose numbers these are."""
    return f"Pretrained on {name_cohort(group.pretraining, group.simulation)}"


def name_data(column: Column) -> str:
    """The dataset, its version where there are several, and whether it is simulated."""
    version = f" {column.data_version[:8]}" if column.data_version else ""
    return name_cohort(f"{column.cohort}{version}", column.simulated)


def in_words(matrix: Matrix) -> MatrixText:
    """The texts of a matrix."""
    sources: list[str] = []
    lines: list[MatrixLine] = []
    for method, cells in matrix.rows:
        lines.append(MatrixLine(method, MEASURED, tuple(_measured(cell, matrix.metric) for cell in cells)))
        raw = tuple(_value(cell.untrained if cell else None, matrix.metric) for cell in cells)
        papers = tuple(_published(cell, matrix.metric, sources) for cell in cells)
        below = ((RAW, raw), (PUBLISHED, papers))
        lines += [MatrixLine(method, kind, texts) for kind, texts in below if any(text.value for text in texts)]
    title = f"{matrix.title}, {matrix.metric}"
    return MatrixText(title, matrix.columns, tuple(lines), tuple(sources))


def _measured(cell: Cell | None, metric: str) -> CellText:
    found = _value(cell.measured if cell else None, metric)
    return replace(found, rank=cell.rank, marks=cell.marks) if cell else found


def _value(measured: MeasuredValue | None, metric: str) -> CellText:
    if measured is None:
        return CellText()
    if measured.value is None:
        return CellText(measured.state, hint=" ".join(measured.notes), runs=measured.runs)
    spread = []
    if measured.std is not None:
        spread.append(f"± {format_number(measured.std, metric)} ({measured.repeated})")
    elif measured.low is not None:
        spread.append(f"[{format_number(measured.low, metric)}, {format_number(measured.high, metric)}]")
    if measured.outdated:
        spread.append(OUTDATED_TEXT)
    return CellText(
        format_number(measured.value, metric), ", ".join(spread), hint=" ".join(measured.notes), runs=measured.runs
    )


def _published(cell: Cell | None, metric: str, sources: list[str]) -> CellText:
    texts = []
    for value in cell.published if cell else ():
        if value.source not in sources:
            sources.append(value.source)
        texts.append(f"{format_number(value.value, metric)} ({format_letters([sources.index(value.source)])})")
    return CellText(" ".join(texts))


def tidy_rows(groups: Sequence[Group]) -> list[list[object]]:
    """All numbers of the matrices as rows under TIDY_HEAD, in fractions."""
    rows: list[list[object]] = []
    for group in groups:
        for matrix in group.matrices:
            for method, cells in matrix.rows:
                for column, cell in zip(matrix.columns, cells, strict=True):
                    if cell:
                        place = [group.pretraining, matrix.task, matrix.metric, method]
                        rows += [[*place, *end] for end in _tidy_cell(column, cell)]
    return rows


TIDY_HEAD = (
    *("pretraining", "task", "metric", "method", "kind", "data", "data_version", "simulated", "setting"),
    *("value", "low", "high", "std", "seeds", "repeats", "rank", "marks", "state", "source"),
)


def _tidy_cell(column: Column, cell: Cell) -> list[list[object]]:
    place = [column.cohort, column.data_version, column.simulated, column.setting]
    rows: list[list[object]] = []
    for kind, found in ((MEASURED, cell.measured), (RAW, cell.untrained)):
        if found:
            own = kind == MEASURED
            numbers = [found.value, found.low, found.high, found.std, found.seeds, found.repeats]
            end = [(cell.rank or "") if own else "", cell.marks if own else ""]
            state = found.state if found.value is None else OUTDATED_TEXT * found.outdated
            rows.append([kind, *place, *numbers, *end, state, ""])
    return [*rows, *([PUBLISHED, *place, value.value, *[""] * 8, value.source] for value in cell.published)]
