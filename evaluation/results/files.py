"""Which files in the folder of results are used: those that are what was written, and that hold what their names say.

A file is used if its seal agrees with its bytes. Files of versions that had no seals are used without. What lies there
besides is left alone and told. A damaged file is set aside and told for as long as its numbers are missing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evaluation.results.schema import (
    COMPUTED_ON,
    DEFAULTS,
    FORMER_REPEAT,
    READ_FILES,
    RESAMPLES_DIGEST,
    RESULTS,
    UNSEALED_VERSIONS,
)
from store.atomic import PARTIAL
from store.digests import known_digest
from store.errors import DamageError, UserError
from store.remote import mirror
from store.seals import DAMAGED, SEAL, expect_intact, is_intact, is_sealed, set_aside

FOLDER, RESAMPLES_FOLDER = "results", "resamples"  # the second in the first
MEASURED = "measured"
PUBLISHED = "published.parquet"
MEASUREMENT = ("method", "cohort", "task", "seed", "setting", "checkpoint", "source", "repeat")  # what one file holds
NAME = re.compile(r"[\w-]+-[0-9a-f]{12}\.parquet")
OURS = (FOLDER, RESAMPLES_FOLDER, "tables", "audit", "leakage.json", PUBLISHED)  # besides measurements

Say = Callable[[str], object]  # takes a sentence


class StrayFileError(UserError):
    """A file that is no file of results; the message says so in one sentence."""


def measurement_path(home: Path, row: Mapping[str, object]) -> Path:
    """Where the rows of the measurement of `row` lie."""
    names = [str(row[name]) for name in MEASUREMENT]
    digest = hashlib.sha256("\0".join(names).encode()).hexdigest()[:12]
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", "-".join(names[:4]))
    return Path(home) / FOLDER / f"{readable}-{digest}.parquet"


def resamples_path(path: Path) -> Path:
    """Where the resamples of a measurement lie."""
    return path.parent / RESAMPLES_FOLDER / path.name


def read_measurement(path: Path, remedy: str) -> pa.Table:
    """The rows of a file of any version.

    Raises:
        DamageError: the file is not what was written, or that of another measurement. It was set aside.
        StrayFileError: it is no file of results.
    """
    if path.name != PUBLISHED and not NAME.fullmatch(path.name):
        raise StrayFileError(f"{path} is no file of results, by its name, and is not read.")
    if is_sealed(path):
        expect_intact(path, remedy)
    table = _read_table(path)
    version = (table.schema.metadata or {}).get(b"version", b"").decode()
    if not is_sealed(path) and version not in UNSEALED_VERSIONS:
        raise StrayFileError(f"{path} has no {SEAL} file with its digest, so it is not used; {remedy}")
    table = _as_results(table, path)
    if version not in UNSEALED_VERSIONS[:2] and path.name != PUBLISHED and not _is_of(table, path):
        aside = set_aside(path)
        raise DamageError(f"{path} holds the results of something else and is set aside as {aside.name}; {remedy}")
    return table


def resamples_digest(table: pa.Table) -> str:
    """The digest of the resamples that belong to the rows of a file; empty in a file of an earlier version."""
    return (table.schema.metadata or {}).get(RESAMPLES_DIGEST, b"").decode()


def has_resamples(path: Path, digest: str) -> bool:
    """Whether the resamples of a measurement are there, and are those with this digest."""
    kept = resamples_path(path)
    return mirror.fetch(kept) and known_digest(kept) == digest


def damaged_predictions(path: Path, table: pa.Table) -> Iterator[Path]:
    """The files of predictions that a measurement was computed from and that are not what was written, or gone."""
    for name in json.loads((table.schema.metadata or {}).get(READ_FILES, b"[]")):
        predictions = path.parents[1] / name
        if not is_intact(predictions):
            yield predictions


def read_computed_on(path: Path) -> str:
    """Device and precision of a measurement, such as `cpu, fp32`; empty where the file does not say, or is gone."""
    try:
        found = json.loads((pq.read_schema(path).metadata or {})[COMPUTED_ON])
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return ""
    return ", ".join(filter(None, (found["device"], found["precision"])))


def list_stray(folder: Path) -> Iterator[str]:
    """A sentence for each entry of the folder of results that is none of ours."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = path.name.removesuffix(SEAL)
        ours = name in OURS or NAME.fullmatch(name.removesuffix(DAMAGED))
        hidden = name.startswith(".") or name.endswith(PARTIAL)
        if not ours and not hidden and path.suffix != ".parquet":
            yield f"{path} is no file of results and is not read."


def list_lost(folder: Path) -> Iterator[str]:
    """A sentence for each measurement that was made and whose file is damaged or gone: what it was, and how to mend."""
    traces = [*folder.glob(f"*.parquet{DAMAGED}"), *folder.glob(f"*.parquet{SEAL}")]
    names = {path.name.removesuffix(SEAL).removesuffix(DAMAGED) for path in traces}
    names |= {path.name for path in (folder / RESAMPLES_FOLDER).glob("*.parquet")}
    for name in sorted(filter(NAME.fullmatch, names)):
        if not (folder / name).is_file():
            yield describe_lost(folder / name)


def describe_lost(path: Path) -> str:
    """What a file held, as far as that is known, and how it is measured again."""
    held = _describe(path)
    return f"{path} is damaged or gone, so that the results of {held} are left out; {how_to_measure(path.name)}"


def how_to_measure(name: str) -> str:
    """The command that measures the results of a file again."""
    method = name.removeprefix("untrained-").partition("-")[0]
    return f"`dagster job execute -j evaluate_{method}` measures them again where their run is still the latest."


def _describe(path: Path) -> str:
    """The measurement of a file, from its resamples, else from its name."""
    kept = resamples_path(path)
    try:
        (row,) = pq.ParquetFile(kept).read().slice(0, 1).to_pylist()
        if measurement_path(path.parents[1], {**row, "source": MEASURED}) == path:
            place = (row["method"], row["cohort"], row["task"], row["setting"])
            return f"{' · '.join(place)}, seed {row['seed']}, repeat {row['repeat']}"
    except (OSError, ValueError, KeyError, pa.ArrowException):
        pass  # without resamples, or with damaged ones, the name has to do
    return path.name.rpartition("-")[0].replace("-", " · ")


def _read_table(path: Path) -> pa.Table:
    try:
        return pq.ParquetFile(path).read(use_threads=False)  # the files are small
    except (OSError, ValueError, pa.ArrowException):
        raise StrayFileError(
            f"{path} cannot be read as a table, so it is not used; {how_to_measure(path.name)}"
        ) from None


def _as_results(table: pa.Table, path: Path) -> pa.Table:
    """The columns of RESULTS, with the defaults of those that an earlier version lacks; the file's metadata stays."""
    if table.schema.equals(RESULTS) and not any(table[name].null_count for name in DEFAULTS):
        return table
    columns = []
    for field in RESULTS:
        name = FORMER_REPEAT.name if field.name == "repeat" and "repeat" not in table.column_names else field.name
        default = DEFAULTS.get(field.name)
        try:
            known = name in table.column_names
            column = table[name].cast(field.type) if known else pa.nulls(len(table), field.type)
            column = column if default is None else pc.fill_null(column, default)
        except pa.ArrowException:
            column = None
        if column is None or (not field.nullable and column.null_count):
            raise StrayFileError(f"{path} is not a table of results (column '{field.name}'), so it is not used.")
        columns.append(column)
    return pa.table(columns, schema=RESULTS.with_metadata(table.schema.metadata))


def _is_of(table: pa.Table, path: Path) -> bool:
    """Whether all rows belong in the file."""
    columns = [table[name].combine_chunks() for name in MEASUREMENT]
    if not len(table) or not all(pc.all(pc.equal(column, column[0])).as_py() for column in columns):
        return False
    row = {name: column[0].as_py() for name, column in zip(MEASUREMENT, columns, strict=True)}
    return measurement_path(path.parents[1], row) == path
