"""Reads and writes the `results` table, one Parquet file per measurement."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.dataset import dataset

from evaluation.errors import EvaluationError
from evaluation.metrics.values import ZERO_SHOT, ResultValue
from evaluation.results.resamples import write_resamples
from evaluation.results.schema import DEFAULTS, FORMER_REPEAT, RESULTS
from evaluation.results.text_tables import as_markdown, as_text
from store.atomic import replacing

__all__ = ["ResultKey", "as_markdown", "as_text", "find_results", "read_results", "write_results"]

FOLDER = "results"
MEASURED = "measured"
MEASUREMENT = ("method", "cohort", "task", "seed", "setting", "checkpoint", "source", "repeat")  # what one file holds
FAILED = "failed: "  # the beginning of the note of a measurement that failed


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
    protocol: str = ""  # digest of the task, its options and the code
    simulated: bool = False  # whether the images are simulated


def write_results(
    home: Path,
    task: str,
    key: ResultKey,
    values: Sequence[ResultValue],
    setting: str = ZERO_SHOT,
    source: str = MEASURED,
    note: str = "",
) -> Path:
    """Write the numbers of one measurement, atomically; `note` says why there are none.

    They replace those of the same method, cohort, task, setting, checkpoint, seed, repeat and source. Their resamples
    are kept beside them, for `evaluation.tables.comparisons`.
    """
    common = {**vars(key), "task": task, "setting": setting, "source": source, "note": note}
    rows = [
        {
            **common,
            "metric": value.metric,
            "class": value.class_name,
            "value": value.value,
            "low": value.low,
            "high": value.high,
            "n": value.n,
            "positives": value.positives,
        }
        for value in values
    ]
    path = _build_path(home, common)
    with replacing(path) as partial:
        pq.write_table(pa.Table.from_pylist(rows, RESULTS), partial)
    write_resamples(path, common, values)
    return path


def find_results(
    home: Path, task: str, key: ResultKey, setting: str = ZERO_SHOT
) -> tuple[list[ResultValue], str] | None:
    """The numbers of a measurement on the same data under the same protocol, and its note.

    None where it was not made, or failed. A measurement that has a note instead of numbers has none.
    """
    path = _build_path(home, {**vars(key), "task": task, "setting": setting, "source": MEASURED})
    if not path.exists():
        return None
    rows = _read_files([path]).to_pylist()
    same = all((row["data_version"], row["protocol"]) == (key.data_version, key.protocol) for row in rows)
    if not rows or not same or rows[0]["note"].startswith(FAILED):
        return None
    names = ("metric", "class", "value", "low", "high", "n")
    numbers = [row for row in rows if not row["note"]]
    values = [replace(ResultValue(*(row[name] for name in names)), positives=row["positives"]) for row in numbers]
    return values, rows[0]["note"]


def read_results(home: Path, where: Mapping[str, str | int | Sequence[str]] | None = None) -> pa.Table:
    """All results under `home`, or those whose columns have the given value (or one of the given values).

    >>> read_results(home, {"cohort": "phantom", "method": ["medklip", "supervised"]})  # doctest: +SKIP
    """
    where = where or {}
    if unknown := set(where) - set(RESULTS.names):
        raise EvaluationError(f"Results have no column '{min(unknown)}'; their columns are {', '.join(RESULTS.names)}.")
    table = _read_files(sorted((Path(home) / FOLDER).glob("*.parquet")))
    for name, value in where.items():
        allowed = pa.array([value] if isinstance(value, (str, int)) else list(value), table.schema.field(name).type)
        table = table.filter(pc.is_in(table[name], allowed))
    return table


def _read_files(files: Sequence[Path]) -> pa.Table:
    """The rows of files of any version, in order."""
    if not files:
        return RESULTS.empty_table()
    table = dataset([str(file) for file in files], schema=RESULTS.append(FORMER_REPEAT), format="parquet").to_table()
    repeats = pc.coalesce(table["repeat"], table[FORMER_REPEAT.name])
    table = table.set_column(table.schema.get_field_index("repeat"), RESULTS.field("repeat"), repeats)
    table = table.select(RESULTS.names).replace_schema_metadata(RESULTS.metadata)
    for name, value in DEFAULTS.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, RESULTS.field(name), pc.fill_null(table[name], value))
    return table


def _build_path(home: Path, common: Mapping[str, object]) -> Path:
    names = [str(common[name]) for name in MEASUREMENT]
    digest = hashlib.sha256("\0".join(names).encode()).hexdigest()[:12]
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", "-".join(names[:4]))
    return Path(home) / FOLDER / f"{readable}-{digest}.parquet"
