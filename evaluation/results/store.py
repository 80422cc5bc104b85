"""Reads and writes the `results` table, one Parquet file per measurement."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from evaluation.errors import EvaluationError
from evaluation.metrics.values import ZERO_SHOT, ResultValue
from evaluation.results.files import (
    FOLDER,
    MEASURED,
    PUBLISHED,
    Say,
    StrayFileError,
    damaged_predictions,
    has_resamples,
    list_lost,
    list_stray,
    measurement_path,
    read_measurement,
    resamples_digest,
)
from evaluation.results.resamples import write_resamples
from evaluation.results.schema import COMPUTED_ON, READ_FILES, RESAMPLES_DIGEST, RESULTS
from evaluation.results.text_tables import as_markdown, as_text
from store.errors import DamageError
from store.seals import is_sealed, write_sealed_table

__all__ = ["FOLDER", "MEASURED", "ResultKey", "as_markdown", "as_text", "find_results", "read_results", "write_results"]

FAILED = "failed: "  # the beginning of the note of a measurement that failed
AGAIN = "it is measured again."
TABLES = "materialize the asset `tables` again."

_warn = logging.getLogger(__name__).warning


@dataclass(frozen=True)
class ResultKey:
    """What produced a measurement."""

    method: str  # medklip, untrained:medklip, supervised
    checkpoint: str  # digest of the weights
    mlflow_run: str  # empty when there is none
    cohort: str
    data_version: str  # digest of the shard manifest
    seed: int  # of the pretraining
    repeat: int = 0  # of the evaluation
    protocol: str = ""  # digest of the task, its options, the tables it reads and the code
    simulated: bool = False  # whether the images are simulated


def write_results(
    home: Path,
    task: str,
    key: ResultKey,
    values: Sequence[ResultValue],
    setting: str = ZERO_SHOT,
    source: str = MEASURED,
    note: str = "",
    reads: Sequence[str] = (),
    device: str = "",
    precision: str = "",
) -> Path:
    """Write the numbers of one measurement, atomically; `note` says why there are none.

    `reads` names the files of predictions that they were computed from, relative to the home. `device` and `precision`
    say where they were computed.

    They replace those of the same method, cohort, task, setting, checkpoint, seed, repeat and source. Their resamples
    are written before them, for `evaluation.tables.comparisons`, and the file holds the digest of these: a measurement
    without its resamples does not count.
    """
    common = {**vars(key), "task": task, "setting": setting, "source": source, "note": note}
    path = measurement_path(home, common)
    digest = write_resamples(path, common, values)
    computed_on = json.dumps({"device": device, "precision": precision})
    of_file = {RESAMPLES_DIGEST: digest, READ_FILES: json.dumps(sorted(reads)), COMPUTED_ON: computed_on}
    schema = RESULTS.with_metadata({**(RESULTS.metadata or {}), **of_file})
    write_sealed_table(pa.Table.from_pylist([{**common, **value.as_row()} for value in values], schema), path)
    return path


def find_results(
    home: Path, task: str, key: ResultKey, setting: str = ZERO_SHOT, log: Say = _warn, any_version: bool = False
) -> tuple[list[ResultValue], str] | None:
    """The numbers of a measurement on the same data under the same protocol, and its note.

    None where it was not made, or failed, or where its files or the predictions that it was computed from are damaged
    or gone, which `log` is told. A measurement that has a note instead of numbers has none. With `any_version` the data
    and the protocol may be others.
    """
    path = measurement_path(home, {**vars(key), "task": task, "setting": setting, "source": MEASURED})
    table = _read_whole(path, log)
    if table is not None and not any_version:
        for predictions in damaged_predictions(path, table):
            log(f"The predictions {predictions} are damaged or gone; they are made and measured again.")
            return None
    rows = [] if table is None else table.to_pylist()
    same = all((row["data_version"], row["protocol"]) == (key.data_version, key.protocol) for row in rows)
    if not rows or not (same or any_version) or rows[0]["note"].startswith(FAILED):
        return None
    return [_as_value(row) for row in rows if not row["note"]], rows[0]["note"]


def read_results(
    home: Path, where: Mapping[str, str | int | Sequence[str]] | None = None, log: Say = _warn
) -> pa.Table:
    """All results under `home`, or those whose columns have the given value (or one of the given values).

    Files that cannot be used are left out. `log` is told of each what it was and how it is made again.

    >>> read_results(home, {"cohort": "phantom", "method": ["medklip", "supervised"]})  # doctest: +SKIP
    """
    where = where or {}
    if unknown := set(where) - set(RESULTS.names):
        raise EvaluationError(f"Results have no column '{min(unknown)}'; their columns are {', '.join(RESULTS.names)}.")
    table = _read_all(Path(home) / FOLDER, log)
    for name, value in where.items():
        allowed = pa.array([value] if isinstance(value, (str, int)) else list(value), table.schema.field(name).type)
        table = table.filter(pc.is_in(table[name], allowed))
    return table


def _read_all(folder: Path, log: Say) -> pa.Table:
    tables = [RESULTS.empty_table()]
    for path in sorted(folder.glob("*.parquet")):
        if path.name.startswith("."):
            continue
        try:
            tables.append(read_measurement(path, TABLES).replace_schema_metadata(RESULTS.metadata))
        except StrayFileError as error:
            log(str(error))
        except DamageError as error:
            if path.name == PUBLISHED:
                log(str(error))  # measured ones are told with all that are lost
    for sentence in (*list_stray(folder), *list_lost(folder)):
        log(sentence)
    return pa.concat_tables(tables).combine_chunks()


def _read_whole(path: Path, log: Say) -> pa.Table | None:
    """The rows of a measurement whose resamples are there; None where there is no such file."""
    if not path.exists() and not is_sealed(path):
        return None
    try:
        table = read_measurement(path, AGAIN)
    except (DamageError, StrayFileError) as error:
        log(str(error))
        return None
    digest = resamples_digest(table)
    if digest and not has_resamples(path, digest):
        log(f"The resamples of {path} are damaged or gone; it is measured again.")
        return None
    return table


def _as_value(row: Mapping[str, object]) -> ResultValue:
    names = ("metric", "class", "value", "low", "high", "n")
    return ResultValue(*(row[name] for name in names), positives=row["positives"])  # type: ignore[arg-type,misc]
