"""The rebuilt tables as Markdown, CSV and LaTeX. Numbers for people are in percent, those of the CSV are fractions."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.comparisons import Pair
from evaluation.publication import Line, Measured, PaperTable, read_traps
from evaluation.result_tables import NOT_SCORED, SIMULATION_NOTE
from evaluation.values import MACRO

NO_TEXT = ""
LETTERS = "abcdefghijklmnopqrstuvwxyz"
HEAD = ("method", "printed as", "data", "task", "setting", "metric", "class", "measured", "published", "difference")
DIFFERS = "what differs"
READING = (
    "Numbers are in percent; a difference is measured minus published. Published numbers are other people's, on other "
    "data, and never fill in for ours. Brackets hold 95 % intervals by bootstrap over patients; of a handful of images "
    "they say little. Several seeds have a mean and a deviation instead."
)
PAIR_HEAD = (
    "data",
    "task",
    "setting",
    "metric",
    "class",
    "seed",
    "methods",
    "test",
    "difference",
    "p",
    "p of all pairs",
)
PAIR_NOTE = (
    "Differences in percent: means over classes by the paired bootstrap by patient, the AUROC of a class by DeLong's "
    "test by patient. The last column is Holm's correction for the pairs of the same measurement. Seeds are listed one "
    "by one."
)
LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "±": r"$\pm$",
        "\n": " ",
    }
)


@dataclass(frozen=True)
class Publication:
    """All that the files show."""

    tables: Sequence[PaperTable]
    pairs: Sequence[Pair]
    pretraining: str  # the cohort that the networks were pretrained on
    simulated: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """What holds for every table."""
        simulation = (SIMULATION_NOTE,) if self.simulated else ()
        return (*simulation, f"Measured: networks pretrained on {self.pretraining}.", READING)


def cells(line: Line) -> tuple[str, ...]:
    """The texts under HEAD."""
    names = (line.method, line.printed, line.cohort, line.task, line.setting, line.metric, line.class_name)
    return (*names, measured_text(line.measured), percent(line.published), percent(line.difference, "+"))


def shown_columns(table: PaperTable) -> list[int]:
    """The columns of HEAD that say something: no task where there is one, no class where all are means."""
    several_tasks = len({line.task for line in table.lines}) > 1
    of_classes = any(line.class_name != MACRO for line in table.lines)
    hidden = {
        *(() if several_tasks else ("task",)),
        *(() if of_classes else ("class",)),
        *(() if any(line.printed for line in table.lines) else ("printed as",)),
    }
    return [place for place, name in enumerate(HEAD) if name not in hidden]


def letters(places: Sequence[int]) -> str:
    """The letters under which a table's remarks are found: a, b, ..., z, aa, ab, ..."""
    return ", ".join((LETTERS[place // 26 - 1] if place >= 26 else NO_TEXT) + LETTERS[place % 26] for place in places)


def measured_text(measured: Measured | None) -> str:
    """Value and interval, or mean and deviation of several seeds, or why there is none."""
    if measured is None:
        return NO_TEXT
    if measured.value is None:
        return measured.note or NOT_SCORED
    if measured.deviation is not None:
        return f"{percent(measured.value)} ± {percent(measured.deviation)} ({measured.seeds} seeds)"
    interval = "" if measured.low is None else f" [{percent(measured.low)}, {percent(measured.high)}]"
    return percent(measured.value) + interval


def percent(value: float | None, sign: str = "") -> str:
    """One decimal, as the papers print."""
    return NO_TEXT if value is None else f"{100 * value:{sign}.1f}"


def pair_cells(pair: Pair) -> tuple[str, ...]:
    """The texts under PAIR_HEAD."""
    found = pair.comparison
    interval = f" [{percent(found.low, '+')}, {percent(found.high, '+')}]"
    place = (pair.cohort, pair.task, pair.setting, pair.metric, pair.class_name, str(pair.seed))
    methods = f"{pair.first} - {pair.second}"
    return (
        *place,
        methods,
        pair.test,
        percent(found.difference, "+") + interval,
        f"{found.p:.3f}",
        f"{pair.adjusted_p:.3f}",
    )


def as_markdown(publication: Publication) -> str:
    """All tables, each with its notes and its lettered remarks."""
    parts = ["# Measured and published", *publication.notes]
    for table in publication.tables:
        columns = shown_columns(table)
        rows = [[*(cells(line)[c] for c in columns), letters(line.notes)] for line in table.lines]
        parts += [f"## {_piped_text(table.paper)}: {_piped_text(table.title)}", *map(_piped_text, table.notes)]
        parts.append(_piped([*(HEAD[c] for c in columns), DIFFERS], rows) if rows else "Nothing was measured for it.")
        parts += [f"{letters([place])}: {_piped_text(remark)}" for place, remark in enumerate(table.remarks)]
    if publication.pairs:
        parts += [
            "## Which methods differ",
            PAIR_NOTE,
            _piped(PAIR_HEAD, [pair_cells(pair) for pair in publication.pairs]),
        ]
    parts += ["## What the published protocols get wrong", _piped(("trap", "what we do instead"), read_traps())]
    return "\n\n".join(parts) + "\n"


def as_csv(publication: Publication) -> str:
    """One row per number, remarks written out."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = ["value", "low", "high", "deviation", "seeds", "n"]
    writer.writerow(["paper", "table", *HEAD[:7], *names, "published", "difference", "mlflow_runs", DIFFERS])
    for table in publication.tables:
        for line in table.lines:
            found = line.measured
            numbers = [getattr(found, name) for name in names] if found else [None] * len(names)
            remarks = " ".join([*table.notes, *(table.remarks[place] for place in line.notes)])
            end = [line.published, line.difference, " ".join(found.runs) if found else "", remarks]
            writer.writerow([table.paper, table.title, *cells(line)[:7], *numbers, *end])
    return file.getvalue()


def as_latex(publication: Publication) -> str:
    r"""One `longtable` per table, for a document that loads `booktabs` and `longtable`."""
    parts = [f"% {note}" for note in publication.notes]
    for table in filter(lambda table: table.lines, publication.tables):
        columns = shown_columns(table)
        head = " & ".join(_tex(name) for name in [*(HEAD[c] for c in columns), DIFFERS])
        parts += [
            f"\\begin{{longtable}}{{{'l' * len(columns)}l}}",
            f"\\caption{{{_tex(table.paper)}: {_tex(table.title)}}} \\\\",
            f"\\toprule\n{head} \\\\\n\\midrule\n\\endhead\n\\bottomrule\n\\endfoot",
            *(
                " & ".join(_tex(text) for text in [*(cells(line)[c] for c in columns), letters(line.notes)]) + r" \\"
                for line in table.lines
            ),
            r"\end{longtable}",
            *(f"\\noindent {_tex(note)}\\par" for note in table.notes),
            *(f"\\noindent {letters([place])}: {_tex(text)}\\par" for place, text in enumerate(table.remarks)),
        ]
    return "\n".join(parts) + "\n"


def _piped(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_piped_text(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _piped_text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")


def _tex(text: str) -> str:
    return text.translate(LATEX)
