"""The rebuilt tables as Markdown, CSV and LaTeX. Numbers for people are in percent, those of the CSV are fractions."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from evaluation.tables.texts import (
    DIFFERS,
    HEAD,
    NO_TEXT,
    PAIR_HEAD,
    PAIR_NOTE,
    SIMULATED,
    TRAPS_HEAD,
    Publication,
    cells,
    letters,
    pair_cells,
    shown_columns,
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


def as_markdown(publication: Publication) -> str:
    """All tables, each with its notes and its lettered remarks."""
    parts = [
        "# Measured and published",
        *(f"**{_piped_text(leak)}**" for leak in publication.leaks),
        *publication.notes,
    ]
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
    parts += ["## What chose the settings", "\n".join(f"- {_piped_text(choice)}" for choice in publication.choices)]
    traps = [(trap.trap, trap.instead, f"`{trap.test}`" if trap.test else NO_TEXT) for trap in read_traps()]
    parts += ["## What the published protocols get wrong", _piped(TRAPS_HEAD, traps)]
    return "\n\n".join(parts) + "\n"


def as_csv(publication: Publication) -> str:
    """One row per number, remarks written out; `state` says why there is no value."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = ["value", "low", "high", "deviation", "seeds", "repeats", "n", SIMULATED]
    printed = ["published", "published_deviation", "difference", "mlflow_runs", DIFFERS]
    writer.writerow(["paper", "table", *HEAD[:7], "state", *names, *printed])
    for table in publication.tables:
        for line in table.lines:
            found = line.measured
            numbers = [getattr(found, name) for name in names] if found else [None] * len(names)
            state = found.state if found and found.value is None else NO_TEXT
            texts = (line.method, line.printed, line.cohort, *cells(line)[3:7], state)
            remarks = " ".join([*table.notes, *(table.remarks[place] for place in line.notes)])
            end = [line.published, line.deviation, line.difference, " ".join(found.runs) if found else "", remarks]
            writer.writerow([table.paper, table.title, *texts, *numbers, *end])
    return file.getvalue()


def as_latex(publication: Publication) -> str:
    r"""One `longtable` per table, for a document that loads `booktabs` and `longtable`."""
    parts = [f"% {note}" for note in (*publication.leaks, *publication.notes)]
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
