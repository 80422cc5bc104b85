"""What two homes have to have in common, if the same jobs were run in both: every number, and every file by its bytes.

What was set aside, locks, logs and records of the runs themselves (MLflow, `runs/`) are left out, and so is how long a
training took.
"""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

NOT_COMPARED = (
    *("*.damaged", "*.partial", "*lock", "runs/*", "mlflow.db*", "mlartifacts/*", "logs/*", "*/metrics*.jsonl"),
    *("*/failure.txt", "*/request.json*", "*/result.json.sha256"),
)
MEASURED = ("seconds", "resumed_from", "metrics_digest")  # in result.json; the metrics hold seconds as well
PLACE = ("method", "cohort", "task", "setting", "repeat", "metric", "class", "source")
VALUES = ("value", "low", "high", "n", "positives", "data_version", "checkpoint", "protocol", "note")

Numbers = dict[tuple[Any, ...], tuple[Any, ...]]


def read_numbers(home: Path) -> Numbers:
    """Every number of the table `results` by what it is of."""
    found: Numbers = {}
    for path in sorted(home.glob("results/*.parquet")):
        for row in pq.ParquetFile(path).read().to_pylist():
            found[tuple(row[name] for name in PLACE)] = tuple(row.get(name) for name in VALUES)
    return found


def find_differences(one: Path, other: Path) -> list[str]:
    """Names of the files that only one of two homes has, or that are not the same."""
    names = list_files(one) | list_files(other)
    return sorted(name for name in names if _content(one / name) != _content(other / name))


def list_files(home: Path) -> set[str]:
    """Names of the files that are compared, relative to the home."""
    names = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}
    return {name for name in names if not any(fnmatch.fnmatch(name, pattern) for pattern in NOT_COMPARED)}


def _content(path: Path) -> bytes | None:
    if not path.is_file():
        return None
    content = path.read_bytes()
    if path.name == "result.json":
        facts = {name: value for name, value in json.loads(content).items() if name not in MEASURED}
        return json.dumps(facts, sort_keys=True).encode()
    return content
