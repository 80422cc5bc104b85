"""Metadata files of published archives: found by name, gzipped or not, and read with every value as text."""

from __future__ import annotations

import re
import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cohorts.archive.remote import readable
from cohorts.errors import CohortError

if TYPE_CHECKING:
    import pandas as pd

    from cohorts.base import Reader


def find(folders: Sequence[Path], pattern: str) -> Path | None:
    """First file that matches `pattern` or `pattern`.gz in the first folder that has one."""
    for folder in folders:
        for candidate in (*sorted(folder.glob(pattern)), *sorted(folder.glob(f"{pattern}.gz"))):
            if candidate.is_file():
                return candidate
    return None


def need(reader: Reader, name: str, columns: Sequence[str] | Callable[[str], bool] | None = None) -> pd.DataFrame:
    """The table `name` in the root of an archive, which it must have; CohortError says how to get it."""
    path = find([reader.root], name)
    if path is None:
        raise reader.missing(name)
    return read(path, columns)


def read(path: Path, columns: Sequence[str] | Callable[[str], bool] | None = None) -> pd.DataFrame:
    """The columns of a CSV as strings, empty where empty; CohortError names what cannot be read."""
    wanted = columns if columns is None or callable(columns) else set(columns).__contains__
    table = _read(path, usecols=wanted, index_col=False)
    absent = [] if columns is None or callable(columns) else [name for name in columns if name not in table]
    if absent:
        raise CohortError(f"{path} has no column {', '.join(absent)}; is it the published file?")
    return table


def numbers(table: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """The named columns as (rows, names) float32, NaN where a field is empty or no number."""
    import pandas as pd

    return table[list(names)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float32).reshape(-1, len(names))


def read_headerless(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A CSV without a header as strings under the given names, empty where a line has fewer values."""
    return _read(path, header=None, names=list(columns), index_col=False).fillna("")


def _read(path: Path, **options: Any) -> pd.DataFrame:
    """Read a CSV as text. A byte that is no UTF-8 becomes U+FFFD, so that it spoils one value and not the table."""
    import pandas as pd

    options |= {"compression": "gzip" if path.suffix == ".gz" else None, "encoding_errors": "replace"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # it has dropped values
            return pd.read_csv(readable(path), dtype=str, keep_default_na=False, na_filter=False, **options)
    except (OSError, ValueError, EOFError, zlib.error, pd.errors.ParserWarning) as error:
        line = re.search(r"line \d+", str(error))
        where = f" ({line[0]})" if line else ""
        message = f"{path} cannot be read as a CSV file{where}; it may be damaged, so fetch it again."
        raise CohortError(message) from error
