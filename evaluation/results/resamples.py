"""Keeps the bootstrap resamples of each measurement, so that methods can be compared in pairs later."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.metrics.values import ResultValue
from evaluation.results.files import NAME, RESAMPLES_FOLDER, Say, how_to_measure, resamples_path
from evaluation.results.schema import FORMER_REPEAT, RESAMPLES_DIGEST
from store.digests import known_digest
from store.remote import mirror
from store.seals import is_intact, is_sealed, write_sealed_table

KEY = ("method", "checkpoint", "cohort", "data_version", "task", "setting", "seed", "repeat", "metric", "class")
NUMBERS = ("seed", "repeat")

RESAMPLES = pa.schema(
    [
        *(pa.field(name, pa.int64() if name in NUMBERS else pa.string(), nullable=False) for name in KEY),
        pa.field("resampled", pa.list_(pa.float32()), nullable=False),  # nan where a resample cannot be scored
    ],
    metadata={"table": "resamples", "version": "4"},
)


_warn = logging.getLogger(__name__).warning


def write_resamples(results: Path, common: Mapping[str, object], values: Sequence[ResultValue]) -> str:
    """Keep the resamples of the `values` in the measurement file `results`; `common` has the rest of their keys.

    Returns the digest of their file.
    """
    rows = [
        {**common, "metric": value.metric, "class": value.class_name, "resampled": value.resampled}
        for value in values
        if value.resampled is not None
    ]
    path = resamples_path(results)
    write_sealed_table(pa.Table.from_pylist(rows, RESAMPLES), path)
    return known_digest(path)


def read_resamples(
    results: Path, metrics: Sequence[str], class_name: str, log: Say = _warn
) -> dict[tuple[object, ...], np.ndarray]:
    """Resamples (resamples,) of some metrics of one class, by the values of KEY; `results` is the folder of results.

    Those that are damaged, or that are not of the measurement beside them, are left out, which `log` is told.
    """
    chosen = [("metric", "in", list(metrics)), ("class", "=", class_name)]
    found: dict[tuple[object, ...], np.ndarray] = {}
    measured = {path.name for path in results.glob("*.parquet") if NAME.fullmatch(path.name)}
    for name in sorted(measured | {path.name for path in (results / RESAMPLES_FOLDER).glob("*.parquet")}):
        table = _read_of(results / name, chosen)
        if table is None:
            log(f"The resamples of {results / name} are damaged or gone: no comparison uses it; {how_to_measure(name)}")
            continue
        for row in table.to_pylist():
            row["repeat"] = row["repeat"] or row[FORMER_REPEAT.name]
            key = tuple((row[name] or 0) if name in NUMBERS else row[name] for name in KEY)  # version 1 has no repeat
            found[key] = np.array(row["resampled"])
    return found


def _read_of(path: Path, chosen: Sequence[tuple[str, str, object]]) -> pa.Table | None:
    """The chosen resamples of the measurement file `path`; None where they are not those that were written with it."""
    kept = resamples_path(path)
    if not mirror.fetch(kept):
        return None
    try:
        recorded = (pq.read_schema(path).metadata or {}).get(RESAMPLES_DIGEST, b"").decode() if path.exists() else ""
        unsealed = not recorded and not is_sealed(kept)  # those of earlier versions have neither digest nor seal
        whole = unsealed or (known_digest(kept) == recorded if recorded else is_intact(kept))
        return pq.read_table(kept, schema=RESAMPLES.append(FORMER_REPEAT), filters=chosen) if whole else None
    except (OSError, ValueError, pa.ArrowException):
        return None
