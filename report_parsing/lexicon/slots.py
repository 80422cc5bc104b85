"""Forms of the data files with slots written out: "not {surely} excluded" is a form for every word of the slot."""

from __future__ import annotations

import re
from functools import cache
from itertools import product

from report_parsing.resources import read_cell, read_rows

_SLOT = re.compile(r"\{(\w+)\}")


def read_forms(cell: str) -> tuple[str, ...]:
    """The forms of a cell, each once, with every combination of the words of their slots.

    Raises:
        KeyError: `data/slots.csv` has no such slot.

    >>> read_forms("{number} l|edema")[:2]
    ('1 l', '2 l')
    """
    return tuple(dict.fromkeys(form for item in read_cell(cell) for form in _write_out(item)))


def _write_out(form: str) -> list[str]:
    pieces = _SLOT.split(form)  # text and names of slots take turns
    if len(pieces) == 1:
        return [form]
    choices = [_slots()[piece] if index % 2 else (piece,) for index, piece in enumerate(pieces)]
    return ["".join(chosen) for chosen in product(*choices)]


@cache
def _slots() -> dict[str, tuple[str, ...]]:
    return {row["slot"]: read_cell(row["forms"]) for row in read_rows("slots.csv")}
