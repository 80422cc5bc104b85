"""Tables of a described archive, every value as text: CSV with any separator, Parquet, or a sheet of a workbook.

The content of a file says what it is, not its name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

import numpy as np

from cohorts.archive import csv_files
from cohorts.archive.paths import OutsideRootError, inside
from cohorts.archive.remote import open_file
from cohorts.described import workbooks
from cohorts.errors import CohortError
from store.errors import did_you_mean

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

PARQUET, ZIP = b"PAR1", b"PK\x03\x04"
NO_MEANINGS: Mapping[str, Mapping[str, str]] = MappingProxyType({})
NO_WIDTH = dict.fromkeys((0x200B, 0x2060, 0xFEFF))
ROWS_AT_ONCE = 10_000
MOST_VALUES = 400_000_000  # of a Parquet file: eight columns of 50 million images
MOST_CHARACTERS = 1 << 33  # of these


def table_path(root: Path, name: str) -> Path:
    """The table `name` of an archive; CohortError where it would lie elsewhere or is no file."""
    try:
        path = inside(root, name.replace("\\", "/"))
    except OutsideRootError:
        raise CohortError(f"The table {name} does not lie below {root}; move it there, or set `root` of it.") from None
    if not csv_files.is_file(path):
        raise CohortError(f"There is no table {name} in {root}; correct the description.")
    return path


def column_names(path: Path, sheet: str = "") -> list[str]:
    """The columns of a table in their order; those without a name are left out."""
    kind = _kind(path)
    if kind == PARQUET:
        names = list(_parquet(path).schema_arrow.names)
    elif kind == ZIP:
        names = workbooks.read_header(path, sheet)
    else:
        names = csv_files.column_names(path)
    if len(names) > csv_files.MOST_COLUMNS:
        raise CohortError(f"{path} has {len(names)} columns, more than any manifest; is it the right file?")
    return [name.strip() for name in names if name.strip()]


def read_table(
    path: Path,
    columns: Sequence[str],
    sheet: str = "",
    meanings: Mapping[str, Mapping[str, str]] = NO_MEANINGS,
    most: int | None = None,
    exact: Collection[str] = (),
) -> pd.DataFrame:
    """The `columns` of a table as text without blanks around it, empty where empty. Rows without any value are dropped.

    Words of a column become what they mean in `meanings`. Words that look alike are the same (`plain_text`), except in
    the columns `exact`, which hold paths. At `most` so many rows are read (None: all). CohortError names a column that
    is not there, with the one that is probably meant.
    """
    import pandas as pd

    named = list(dict.fromkeys(columns))
    places = _find_columns(path, column_names(path, sheet), named)
    wanted = list(places.values())
    kind = _kind(path)
    cleaning = {name: str.strip if name in exact else plain_text for name in named}
    if kind == PARQUET:
        table = _frame(islice(_parquet_rows(path, wanted), most), cleaning)
    else:
        if kind == ZIP:
            table = pd.DataFrame(islice(workbooks.read_rows(path, wanted, sheet), most), columns=wanted, dtype=object)
        else:
            table = csv_files.read(path, wanted, blank_lines=False, most=most)[wanted]
        table = table.set_axis(named, axis=1)
        for name, clean in cleaning.items():
            table[name] = table[name].map(clean)
    for name in meanings.keys() & set(named):
        known = {plain_text(word): meaning for word, meaning in meanings[name].items()}
        table[name] = table[name].map(lambda word, known=known: known.get(word, word))
    return table


def plain_text(text: str) -> str:
    """A text with its letters composed (macOS takes umlauts apart), without blanks around it and without the characters
    of no width that hide in cells."""
    return text.strip() if text.isascii() else normalize("NFC", text.translate(NO_WIDTH)).strip()


def plain_name(name: str) -> str:
    """The name of a column in the form by which it is found: `plain_text`, any blanks as one."""
    return " ".join(plain_text(name).split())


def _find_columns(path: Path, known: Sequence[str], named: Sequence[str]) -> dict[str, str]:
    """For each name of the description the column of the table that it means."""
    plain = [plain_name(name) for name in known]
    for name in named:
        if plain_name(name) not in plain:
            raise CohortError(f"{path} has no column {name!r}{did_you_mean(name, known)}; correct the description.")
        if plain.count(plain_name(name)) > 1:
            raise CohortError(f"{path} has two columns {name!r}; rename one of them.")
    return {name: known[plain.index(plain_name(name))] for name in named}


def _kind(path: Path) -> bytes:
    """PARQUET, ZIP or nothing, by the first bytes of a file."""
    try:
        with open_file(path, len(PARQUET)) as stream:
            head = stream.read(len(PARQUET))
    except OSError as error:
        raise CohortError(f"{path} cannot be read ({error.strerror or error}).") from error
    return head if head in (PARQUET, ZIP) else b""


def _parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(open_file(path))
    except (pa.ArrowException, OSError) as error:
        raise CohortError(f"{path} is no Parquet file that can be read; it is damaged, so write it again.") from error


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[list[str]]:
    import pyarrow as pa

    file = _parquet(path)
    if file.metadata.num_rows * len(columns) > MOST_VALUES:
        raise CohortError(f"{path} has more than {MOST_VALUES} values in the columns that are named.")
    for name in columns:
        kind = file.schema_arrow.field(file.schema_arrow.names.index(name)).type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            raise CohortError(f"{path} has values of the type {kind} in the column {name!r}; write them as text.")
    characters = 0
    try:
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=list(columns)):
            values = [_texts(batch.column(name)) for name in columns]
            characters += sum(len(value) for column in values for value in column)
            if characters > MOST_CHARACTERS:
                raise CohortError(f"{path} has more than {MOST_CHARACTERS} characters in the columns that are named.")
            yield from ([*row] for row in zip(*values, strict=True) if any(row))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise CohortError(f"{path} cannot be read to its end; it is damaged, so write it again.") from error


def _frame(rows: Iterator[list[str]], cleaning: Mapping[str, Callable[[str], str]]) -> pd.DataFrame:
    """Rows as a table. Only some of them are Python's strings at a time, which take more memory than their text."""
    import pandas as pd
    import pyarrow as pa

    parts: dict[str, list[pa.Array]] = {name: [] for name in cleaning}
    while block := list(islice(rows, ROWS_AT_ONCE)):
        for values, (name, clean) in zip(zip(*block, strict=True), cleaning.items(), strict=True):
            parts[name].append(_array([clean(value) for value in values]))
    # In one piece each, as pandas joins the pieces of a column anew whenever it takes rows of it.
    columns = {name: pa.chunked_array([_joined(parts.pop(name))], pa.large_string()) for name in cleaning}
    return pd.DataFrame({name: pd.array(column, dtype="str") for name, column in columns.items()})


def _joined(arrays: Sequence[pa.Array]) -> pa.Array:
    import pyarrow as pa

    return pa.concat_arrays(arrays) if arrays else pa.array([], pa.large_string())


def _array(values: Sequence[str]) -> pa.LargeStringArray:
    """Values as an array of exactly their size; one that pyarrow makes takes up to twice as much memory."""
    import pyarrow as pa

    encoded = [value.encode() for value in values]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return pa.LargeStringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))


def _texts(column: pa.Array) -> list[str]:
    """Values as a table of text would have them: 1 for 1.0 and for true, nothing for null."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):
        return [number_text(value) for value in column.to_pylist()]
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return ["" if value is None else value for value in column.cast(pa.string()).to_pylist()]


def number_text(value: float | None) -> str:
    """A number as text, without a fraction of zero; nothing for no number."""
    if value is None or value != value:
        return ""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
