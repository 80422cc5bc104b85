"""The tables as Markdown, CSV and LaTeX. Markdown and LaTeX have numbers in percent, the CSV has fractions."""

from __future__ import annotations

import csv
import io

from evaluation.results.markdown import escape_markdown, markdown_table
from evaluation.tables.texts import (
    DIFFERS,
    HEAD,
    NO_TEXT,
    PAIR_HEAD,
    PAIR_NOTE,
    SIMULATED,
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
    for table in document.tables:
        columns = choose_columns(table)
        rows = [[*(format_line(line)[c] for c in columns), format_letters(line.notes)] for line in table.lines]
        parts += [
            f"## {escape_markdown(table.paper)}: {escape_markdown(table.title)}",
            *map(escape_markdown, table.notes),
        ]
        parts.append(
            markdown_table([*(HEAD[c] for c in columns), DIFFERS], rows) if rows else "Nothing was measured for it."
        )
        parts += [f"{format_letters([place])}: {escape_markdown(remark)}" for place, remark in enumerate(table.remarks)]
    if document.pairs:
        parts += [
            "## Which methods differ",
            PAIR_NOTE,
            markdown_table(PAIR_HEAD, [format_pair(pair) for pair in document.pairs]),
        ]
    parts += [
        "## How the settings were selected",
        "\n".join(f"- {escape_markdown(choice)}" for choice in document.choices),
    ]
    traps = [(trap.trap, trap.instead, trap.test or NO_TEXT) for trap in read_traps()]
    parts += ["## What the published protocols get wrong", markdown_table(TRAPS_HEAD, traps)]
    return "\n\n".join(parts) + "\n"


def as_csv(document: TablesDocument) -> str:
    """One row per number, with its remarks. The column `state` says why a value is missing."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = ["value", "low", "high", "std", "seeds", "repeats", "n", SIMULATED]
    printed = ["published", "published_std", "difference", "mlflow_runs", DIFFERS]
    writer.writerow(["paper", "table", *HEAD[:7], "state", *names, *printed])
    for table in document.tables:
        for line in table.lines:
            found = line.measured
            numbers = [getattr(found, name) for name in names] if found else [None] * len(names)
            state = found.state if found and found.value is None else NO_TEXT
            texts = (line.method, line.printed, line.cohort, *format_line(line)[3:7], state)
            remarks = " ".join([*table.notes, *(table.remarks[place] for place in line.notes)])
            end = [line.published, line.std, line.difference, " ".join(found.runs) if found else "", remarks]
            writer.writerow([table.paper, table.title, *texts, *numbers, *end])
    return file.getvalue()


def as_latex(document: TablesDocument) -> str:
    r"""One `longtable` per table, for a document that loads `booktabs` and `longtable`."""
    parts = [f"% {note}" for note in (*document.leaks, *document.notes)]
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
                    for text in [*(format_line(line)[c] for c in columns), format_letters(line.notes)]
                )
                + r" \\"
                for line in table.lines
            ),
            r"\end{longtable}",
            *(f"\\noindent {_escape_latex(note)}\\par" for note in table.notes),
            *(
                f"\\noindent {format_letters([place])}: {_escape_latex(text)}\\par"
                for place, text in enumerate(table.remarks)
            ),
        ]
    return "\n".join(parts) + "\n"


def _escape_latex(text: str) -> str:
    return text.translate(LATEX)
