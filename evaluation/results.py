"""The `results` table: one Parquet file per measurement, and the tables people read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.errors import EvaluationError
from evaluation.resamples import write_resamples
from evaluation.result_tables import as_markdown, as_text
from evaluation.tables import RESULTS
from evaluation.values import ZERO_SHOT, ResultValue
from shards.atomic import replacing

__all__ = ["ResultKey", "as_markdown", "as_text", "read_results", "write_results"]

FOLDER = "results"
MEASURED = "measured"
MEASUREMENT = ("method", "cohort", "task", "seed", "setting", "checkpoint", "source")  # what one file holds


@dataclass(frozen=True)
class ResultKey:
    """What produced a measurement."""

    method: str  # medklip, untrained:medklip, supervised
    checkpoint: str  # digest of the weights
    mlflow_run: str  # empty when there is none
    cohort: str
    data_version: str  # digest of the shard manifest
    seed: int


def write_results(
    home: Path,
    task: str,
    key: ResultKey,
    values: Sequence[ResultValue],
    setting: str = ZERO_SHOT,
    source: str = MEASURED,
) -> Path:
    """Write the numbers of one measurement, atomically.

    They replace those of the same method, cohort, task, setting, checkpoint, seed and source. Their resamples are kept
    beside them, for `evaluation.comparisons`.
    """
    common = {**vars(key), "task": task, "setting": setting, "source": source}
    rows = [
        {
            **common,
            "metric": value.metric,
            "class": value.class_name,
            "value": value.value,
            "low": value.low,
            "high": value.high,
            "n": value.n,
        }
        for value in values
    ]
    path = _path(home, common)
    with replacing(path) as partial:
        pq.write_table(pa.Table.from_pylist(rows, RESULTS), partial)
    write_resamples(path, common, values)
    return path


def read_results(home: Path, where: Mapping[str, str | int | Sequence[str]] | None = None) -> pa.Table:
    """All results under `home`, or those whose columns have the given value (or one of the given values).

    >>> read_results(home, {"cohort": "phantom", "method": ["medklip", "supervised"]})  # doctest: +SKIP
    """
    where = where or {}
    if unknown := set(where) - set(RESULTS.names):
        raise EvaluationError(f"Results have no column '{min(unknown)}'; their columns are {', '.join(RESULTS.names)}.")
    files = sorted(str(path) for path in (Path(home) / FOLDER).glob("*.parquet"))
    if not files:
        return RESULTS.empty_table()
    conditions = "".join(f' and "{name}" in (select unnest(?))' for name in where)
    allowed = [[value] if isinstance(value, (str, int)) else list(value) for value in where.values()]
    query = f"""
        select {", ".join(f'"{name}"' for name in RESULTS.names)}
        from read_parquet(?, filename = true, file_row_number = true)
        where true{conditions} order by filename, file_row_number
    """
    with duckdb.connect() as connection:
        found: pa.Table = connection.sql(query, params=[files, *allowed]).to_arrow_table()
        return found.cast(RESULTS)


def _path(home: Path, common: Mapping[str, object]) -> Path:
    names = [str(common[name]) for name in MEASUREMENT]
    digest = hashlib.sha256("\0".join(names).encode()).hexdigest()[:12]
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", "-".join(names[:4]))
    return Path(home) / FOLDER / f"{readable}-{digest}.parquet"
