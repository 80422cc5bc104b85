"""The reviewable data files beside this module, read as rows."""

from __future__ import annotations

import csv
from importlib.resources import files

LANGUAGES = "languages"  # folder of data with a folder per language


def read_rows(name: str) -> list[dict[str, str]]:
    """Rows of `report_parsing/data/<name>`; lines that start with `#` are remarks for the reviewer."""
    text = (files("report_parsing") / "data" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


def language_files(name: str) -> list[str]:
    """The names, for `read_rows`, of the files of this name that languages have, in the order of the languages."""
    folders = sorted((folder.name, folder) for folder in (files("report_parsing") / "data" / LANGUAGES).iterdir())
    return [f"{LANGUAGES}/{code}/{name}" for code, folder in folders if (folder / name).is_file()]


def read_cell(cell: str | None, separator: str = "|") -> tuple[str, ...]:
    """The parts of a cell that holds several values."""
    return tuple(part.strip() for part in (cell or "").split(separator) if part.strip())
