"""The tables as Markdown, CSV and LaTeX. Markdown and LaTeX have numbers in percent, the CSV has fractions."""

from __future__ import annotations

import csv
import io

from evaluation.results.markdown import Markdown, escape_markdown, markdown_table
from evaluation.results.trainings import SIMULATED
from evaluation.tables.matrices import BEST, SECOND
from evaluation.tables.matrix_texts import (
    MATRIX_NOTE,
    MEASURED,
    OUTDATED_TEXT,
    RESULTS_TITLE,
    TIDY_HEAD,
    CellText,
    MatrixLine,
    in_words,
    tidy_rows,
    title_of,
)
from evaluation.tables.texts import (
    DIFFERS,
    HEAD,
    MEASURED_COLUMN,
    NO_TEXT,
    PAIR_HEAD,
    PAIR_NOTE,
    TRAPS_HEAD,
    TablesDocument,
    choose_columns,
    format_letters,
    format_line,
    format_pair,
)
from evaluation.tables.traps import read_traps

LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "±": r"$\pm$",
        "†": r"$\dagger$",
        "–": "--",
        "\n": " ",
    }
)


def as_markdown(document: TablesDocument) -> str:
    """All tables, each with its notes and its remarks, which have letters."""
    parts = [
        "# Measured and published",
        *(f"**{escape_markdown(leak)}**" for leak in document.leaks),
        *document.notes,
    ]
    parts += _matrices_as_markdown(document)
    for table in document.tables:
        columns = choose_columns(table)
        texts = [(format_line(line, document), format_letters(line.notes)) for line in table.lines]
        rows = [[*(line[c] for c in columns), notes] for line, notes in texts]
        parts += [
            f"## {escape_markdown(table.paper)}: {escape_markdown(table.title)}",
            *map(escape_markdown, filter(None, (document.describe_measured(table), *table.notes))),
        ]
        parts.append(
            markdown_table([*(HEAD[c] for c in columns), DIFFERS], rows) if rows else "Nothing was measured for it."
        )
        parts += [f"{format_letters([place])}: {escape_markdown(remark)}" for place, remark in enumerate(table.remarks)]
    if document.pairs:
        parts += [
            "## Which methods differ",
            PAIR_NOTE,
            markdown_table(PAIR_HEAD, [format_pair(pair, document) for pair in document.pairs]),
        ]
    parts += [
        "## How the settings were selected",
        "\n".join(f"- {escape_markdown(choice)}" for choice in document.choices),
    ]
    traps = [(trap.trap, trap.instead, trap.test or NO_TEXT) for trap in read_traps()]
    parts += ["## What the published protocols get wrong", markdown_table(TRAPS_HEAD, traps)]
    return "\n\n".join(parts) + "\n"


def _matrices_as_markdown(document: TablesDocument) -> list[str]:
    parts = [f"## {RESULTS_TITLE}", MATRIX_NOTE] if document.groups else []
    for group in document.groups:
        parts.append(f"### {escape_markdown(title_of(group))}")
        for matrix in map(in_words, group.matrices):
            rows = [[_label(line), *map(_cell_as_markdown, line.cells)] for line in matrix.lines]
            parts += [f"#### {escape_markdown(matrix.title)}", markdown_table(["method", *matrix.heads], rows)]
            parts += [f"{format_letters([n])}: {escape_markdown(text)}" for n, text in enumerate(matrix.sources)]
    return parts


def _label(line: MatrixLine) -> str:
    return line.method if line.kind == MEASURED else f"– {line.kind}"


def _cell_as_markdown(cell: CellText) -> Markdown:
    """Markdown has no underlining of its own; pages that show it take the HTML."""
    value, marks, spread = map(escape_markdown, (cell.value, cell.marks, cell.spread))
    value = {BEST: f"**{value}**", SECOND: f"<u>{value}</u>"}.get(cell.rank, value)
    return Markdown(" ".join(part for part in (value + marks, spread) if part))


def matrices_as_csv(document: TablesDocument) -> str:
    """One row per number of the matrices, in fractions."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(TIDY_HEAD)
    writer.writerows(tidy_rows(document.groups))
    return file.getvalue()


def as_csv(document: TablesDocument) -> str:
    """One row per number, with its remarks. `state` says why a value is missing, or that it is outdated."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    fields = ["value", "low", "high", "std", "seeds", "repeats", "n", SIMULATED]
    printed = ["published", "published_std", "difference", "mlflow_runs", DIFFERS]
    writer.writerow(["paper", "table", *HEAD[:MEASURED_COLUMN], "state", *fields, *printed])
    for table in document.tables:
        for line in table.lines:
            found = line.measured
            numbers = [getattr(found, name) for name in fields] if found else [None] * len(fields)
            state = found.state if found and found.value is None else OUTDATED_TEXT if line.outdated else NO_TEXT
            names = (line.method, line.printed, line.pretraining, line.cohort, line.task, line.setting, line.metric)
            texts = (*names, line.class_name, state)
            remarks = " ".join([*table.notes, *(table.remarks[place] for place in line.notes)])
            end = [line.published, line.std, line.difference, " ".join(found.runs) if found else "", remarks]
            writer.writerow([table.paper, table.title, *texts, *numbers, *end])
    return file.getvalue()


def as_latex(document: TablesDocument) -> str:
    r"""One `longtable` per table, for a document that loads `booktabs` and `longtable`."""
    parts = [f"% {' '.join(note.split())}" for note in (*document.leaks, *document.notes)] + _matrices_as_latex(
        document
    )
    for table in filter(lambda table: table.lines, document.tables):
        columns = choose_columns(table)
        head = " & ".join(_escape_latex(name) for name in [*(HEAD[c] for c in columns), DIFFERS])
        parts += [
            f"\\begin{{longtable}}{{{'l' * len(columns)}l}}",
            f"\\caption{{{_escape_latex(table.paper)}: {_escape_latex(table.title)}}} \\\\",
            f"\\toprule\n{head} \\\\\n\\midrule\n\\endhead\n\\bottomrule\n\\endfoot",
            *(
                " & ".join(
                    _escape_latex(text)
                    for text in [*(format_line(line, document)[c] for c in columns), format_letters(line.notes)]
                )
                + r" \\"
                for line in table.lines
            ),
            r"\end{longtable}",
            *(
                f"\\noindent {_escape_latex(note)}\\par"
                for note in filter(None, (document.describe_measured(table), *table.notes))
            ),
            *(
                f"\\noindent {format_letters([place])}: {_escape_latex(text)}\\par"
                for place, text in enumerate(table.remarks)
            ),
        ]
    return "\n".join(parts) + "\n"


def _matrices_as_latex(document: TablesDocument) -> list[str]:
    """A `longtable` per matrix."""
    parts = [f"\\noindent {_escape_latex(MATRIX_NOTE)}\\par"] if document.groups else []
    for group in document.groups:
        for matrix in map(in_words, group.matrices):
            head = " & ".join(map(_escape_latex, ["method", *matrix.heads]))
            parts += [
                f"\\begin{{longtable}}{{{'l' * (1 + len(matrix.columns))}}}",
                f"\\caption{{{_escape_latex(f'{title_of(group)}: {matrix.title}')}}} \\\\",
                f"\\toprule\n{head} \\\\\n\\midrule\n\\endhead\n\\bottomrule\n\\endfoot",
                *(
                    " & ".join([_escape_latex(_label(line)), *map(_cell_as_latex, line.cells)]) + r" \\"
                    for line in matrix.lines
                ),
                r"\end{longtable}",
                *(
                    f"\\noindent {format_letters([place])}: {_escape_latex(text)}\\par"
                    for place, text in enumerate(matrix.sources)
                ),
            ]
    return parts


def _cell_as_latex(cell: CellText) -> str:
    value, marks, spread = map(_escape_latex, (cell.value, cell.marks, cell.spread))
    value = {BEST: f"\\textbf{{{value}}}", SECOND: f"\\underline{{{value}}}"}.get(cell.rank, value)
    return " ".join(part for part in (value + marks, spread and f"{{\\small {spread}}}") if part)


def _escape_latex(text: str) -> str:
    return text.translate(LATEX)
