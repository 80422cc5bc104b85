"""Reads the first rows of the tables that lie in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cohorts.archive.names import escape_bytes
from cohorts.described.tables import column_names, read_table
from cohorts.errors import CohortError
from ingestion.inspection.columns import Column, make_columns

if TYPE_CHECKING:
    import pandas as pd

    from ingestion.inspection.listing import Listing
    from ingestion.inspection.progress import Log

TEXT, PARQUET = ".txt", ".parquet"
SUFFIXES = (".csv", ".tsv", PARQUET, ".xlsx", ".gz", TEXT)
MOST_ROWS = 2000  # of a table, that are looked at
MOST_TABLES = 40
MOST_COLUMNS = 500
MOST_TEXTS = 10  # files that end in .txt: more are reports, and none is looked at


@dataclass(frozen=True)
class Sheet:
    """The first rows of a table."""

    path: str  # relative to the folder that is looked at
    name: str  # of the sheet of a workbook; empty: its first
    columns: list[Column]
    rows: int


def read_sheets(listing: Listing, log: Log) -> tuple[list[Sheet], list[str]]:
    """The tables of a folder, those near its root first, and one sentence about each that cannot be read."""
    sheets: list[Sheet] = []
    problems: list[str] = []
    for path in _tables(listing):
        if len(sheets) + len(problems) == MOST_TABLES:
            break
        log(f"Looking into the table {path}.")
        try:
            sheets.append(read_sheet(listing, path))
        except CohortError as error:
            problems.append(str(error))
    return [sheet for sheet in sheets if sheet.rows and len(sheet.columns) > 1], problems


def read_sheet(listing: Listing, path: str) -> Sheet:
    """The first rows of one table; CohortError where it is none."""
    names = column_names(listing.root / path)[:MOST_COLUMNS]
    unique = [name for name in names if names.count(name) == 1]
    table = _first_rows(listing.root / path, unique)
    return Sheet(path, "", make_columns([str(name) for name in table], table.to_numpy().tolist()), len(table))


def _first_rows(path: Path, names: Sequence[str]) -> pd.DataFrame:
    """The first rows of the named columns, of Parquet files without those that have no text, such as lists."""
    try:
        return read_table(path, names, most=MOST_ROWS, exact=names)
    except CohortError:
        readable = [name for name in names if path.suffix == PARQUET and _is_readable(path, name)]
        if not readable:
            raise
    return read_table(path, readable, most=MOST_ROWS, exact=readable)


def _is_readable(path: Path, name: str) -> bool:
    try:
        read_table(path, [name], most=1)
    except CohortError:
        return False
    return True


def _tables(listing: Listing) -> Iterator[str]:
    suffixes = SUFFIXES[: -1 if listing.suffixes()[TEXT] > MOST_TEXTS else None]
    return (
        path
        for path in listing.paths()
        if PurePosixPath(path).suffix.lower() in suffixes and escape_bytes(path) == path  # or no file could name it
    )
