"""The reviewable data files beside this module, read as rows."""

from __future__ import annotations

import csv
from importlib.resources import files


def read_rows(name: str) -> list[dict[str, str]]:
    """Rows of `report_parsing/data/<name>`; lines that start with `#` are remarks for the reviewer."""
    text = (files("report_parsing") / "data" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


def read_cell(cell: str | None, separator: str = "|") -> tuple[str, ...]:
    """The parts of a cell that holds several values."""
    return tuple(part.strip() for part in (cell or "").split(separator) if part.strip())
