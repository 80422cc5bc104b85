"""Tables of published archives: found by name, gzipped or not, and read with every value as text.

Values are separated by commas. Where the columns that must be there appear only with another separator, as after a
spreadsheet saved the table, it is taken instead. Numbers are never changed.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from sys import intern
from typing import TYPE_CHECKING

import numpy as np

from cohorts.archive.folders import is_file, matches
from cohorts.archive.text_files import LONGEST_LINE, read_lines
from cohorts.errors import CohortError

if TYPE_CHECKING:
    import pandas as pd

    from cohorts.base import Reader

SEPARATORS = ",;\t|"  # the first is the usual one
MOST_COLUMNS = 10_000
MOST_VALUES = 40_000_000  # that are kept of a table; the largest published one has a tenth
DECIMAL_COMMA = re.compile(r"\s*[-+]?\d*,\d+\s*")
END = "\0"  # a line behind the last, which no file has: a quotation that is never closed swallows it


def find(folders: Sequence[Path], pattern: str) -> Path | None:
    """First file that matches `pattern` or `pattern`.gz in the first folder that has one.

    Raises CohortError where something else, such as a folder, has the name of the file, or nobody may look.
    """
    for folder in folders:
        candidates = [*matches(folder, pattern), *matches(folder, f"{pattern}.gz")]
        if found := next(filter(is_file, candidates), None):
            return found
        if candidates:
            raise CohortError(f"{candidates[0]} is no regular file; put the published file in its place.")
    return None


def need(reader: Reader, name: str, columns: Sequence[str], others: Sequence[str] | None = ()) -> pd.DataFrame:
    """The table `name` in the root of an archive, which it must have; CohortError says how to get it."""
    path = find([reader.root], name)
    if path is None:
        raise reader.missing(name)
    return read(path, columns, others)


def has_columns(path: Path, columns: Sequence[str]) -> bool:
    """Whether the header of a table names all the `columns`; CohortError where the file cannot be read as text."""
    first, _ = _open_table(path, lambda header: set(columns) <= set(map(str.strip, header)))
    return set(columns) <= set(map(str.strip, first))


def column_names(path: Path) -> list[str]:
    """The header of a table, with the separator that gives the most names."""
    headers = [next(_records(path, separator), (0, []))[1] for separator in SEPARATORS]
    return max(headers, key=len)


def read(
    path: Path,
    columns: Sequence[str],
    others: Sequence[str] | None = (),
    blank_lines: bool = True,
    most: int | None = None,
) -> pd.DataFrame:
    """The `columns` of a table and those of `others` that it has (None: all), as strings, empty where empty.

    Blanks around the names of columns do not count. Lines of separators alone are left out unless `blank_lines`. Raises
    CohortError that names what cannot be read: a column that is absent or there twice, a line that has more or fewer
    values than the header, or a damaged file.
    """
    first, records = _open_table(path, lambda header: set(columns) <= set(map(str.strip, header)))
    names = [name.strip() for name in first]
    if absent := [name for name in columns if name not in names]:
        raise CohortError(f"{path} has no column {', '.join(absent)}; is it the published file?")
    chosen = [name for name in names if name and (others is None or name in columns or name in others)]
    if twice := next((name for name in chosen if names.count(name) > 1), None):
        raise CohortError(f"{path} has two columns {twice}; is it the published file?")
    places = [names.index(name) for name in chosen]
    named = max(place for place, name in enumerate(names) if name) + 1
    # Most values are one of a few, which are kept once.
    rows: list[list[str]] = []
    for values in islice(_even(path, records, named, len(names)), most):  # None: all
        if len(rows) * len(places) > MOST_VALUES:
            raise CohortError(f"{path} has more than {MOST_VALUES} values, as no published table has.")
        if blank_lines or any(map(str.strip, values)):
            rows.append([intern(values[place]) for place in places])
    return _table(rows, chosen)


def read_headerless(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A table without a header as strings under the given names, empty where a line has fewer values."""
    width = len(columns)
    first, records = _open_table(path, lambda values: len(values) == width)
    lines = chain([(1, first)], records) if first else records
    return _table([[*values, *[""] * width][:width] for values in _even(path, lines, 0, width)], columns)


def numbers(table: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """The named columns as (rows, names) float32, NaN where a field is empty or no number.

    Raises CohortError where a number has a decimal comma, as nobody can tell what else the table means by commas.
    """
    import pandas as pd

    for name in names:
        if any(DECIMAL_COMMA.fullmatch(str(value)) for value in table[name].unique()):
            raise CohortError(f"The column {name} has numbers with a decimal comma; write them with a point.")
    return table[list(names)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float32).reshape(-1, len(names))


def _open_table(path: Path, is_right: Callable[[list[str]], bool]) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The first line of a table and the others, with the separator for which the first line `is_right`, or commas."""
    for separator in (*SEPARATORS, SEPARATORS[0]):
        records = _records(path, separator)
        _, first = next(records, (0, []))
        if len(first) > MOST_COLUMNS:
            raise CohortError(f"{path} has {len(first)} columns, as no published table has; fetch it again.")
        if is_right(first):
            break
    return first, records


def _records(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The lines of a table that are not blank, each with its number in the file and its values."""
    reader = csv.reader(chain(read_lines(path), [END]), delimiter=separator)
    number = 1
    try:
        for values in _read_long_fields(reader):
            if values == [END]:
                return
            if values and values[-1].endswith(END):
                break
            if len(values) > 1 or "".join(values).strip():
                yield number, values
            number = reader.line_num + 1
    except csv.Error as error:
        raise CohortError(f"{path} cannot be read from line {number} on ({error}); fetch it again.") from error
    raise CohortError(
        f"{path} has a quotation in line {number} that is never closed; it is damaged, so fetch it again."
    )


def _read_long_fields(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """The records of a reader, whose fields may be as long as a line. The limit of other readers stays as it is."""
    while True:
        limit = csv.field_size_limit(LONGEST_LINE)
        try:
            values = next(reader)
        except StopIteration:
            return
        finally:
            csv.field_size_limit(limit)
        yield values


def _even(path: Path, records: Iterator[tuple[int, list[str]]], least: int, most: int) -> Iterator[list[str]]:
    """The values of lines, of which each must have `least` to `most`; empty ones behind these do not count."""
    for number, values in records:
        if not least <= len(values) <= most and (len(values) < least or any(values[most:])):
            raise CohortError(
                f"{path} has {len(values)} values in line {number} instead of {most}; it is damaged, so fetch it again."
            )
        yield values


def _table(rows: list[list[str]], columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=list(columns), dtype=object)
