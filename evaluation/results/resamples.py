"""Keeps the bootstrap resamples of each measurement, so that methods can be compared in pairs later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.metrics.values import ResultValue
from evaluation.results.schema import FORMER_REPEAT
from store.atomic import replacing

FOLDER = "resamples"  # beside the results
KEY = ("method", "checkpoint", "cohort", "data_version", "task", "setting", "seed", "repeat", "metric", "class")
NUMBERS = ("seed", "repeat")

RESAMPLES = pa.schema(
    [
        *(pa.field(name, pa.int64() if name in NUMBERS else pa.string(), nullable=False) for name in KEY),
        pa.field("resampled", pa.list_(pa.float32()), nullable=False),  # nan where a resample cannot be scored
    ],
    metadata={"table": "resamples", "version": "3"},
)


def write_resamples(results: Path, common: Mapping[str, object], values: Sequence[ResultValue]) -> None:
    """Keep the resamples of the `values` in the measurement file `results`; `common` has the rest of their keys."""
    rows = [
        {**common, "metric": value.metric, "class": value.class_name, "resampled": value.resampled}
        for value in values
        if value.resampled is not None
    ]
    with replacing(results.parent / FOLDER / results.name) as partial:
        pq.write_table(pa.Table.from_pylist(rows, RESAMPLES), partial)


def read_resamples(results: Path, metrics: Sequence[str], class_name: str) -> dict[tuple[object, ...], np.ndarray]:
    """Resamples (resamples,) of some metrics of one class, by the values of KEY; `results` is the folder of results."""
    files = sorted((results / FOLDER).glob("*.parquet"))
    chosen = [("metric", "in", list(metrics)), ("class", "=", class_name)]
    found: dict[tuple[object, ...], np.ndarray] = {}
    for file in files:
        for row in pq.read_table(file, schema=RESAMPLES.append(FORMER_REPEAT), filters=chosen).to_pylist():
            row["repeat"] = row["repeat"] or row[FORMER_REPEAT.name]
            key = tuple((row[name] or 0) if name in NUMBERS else row[name] for name in KEY)  # version 1 has no repeat
            found[key] = np.array(row["resampled"])
    return found
