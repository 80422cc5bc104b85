"""`numbers.csv`, an artifact of a run in MLflow: every number of its evaluations by name."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

TABLE = "numbers.csv"
COLUMNS = ("number", "value")


def add_numbers(client: MlflowClient, run_id: str, numbers: Mapping[str, float]) -> None:
    """Add numbers to those that are there, in place of older ones of the same name. One process at a time does this."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(sorted({**read_numbers(client, run_id), **numbers}.items()))
    client.log_text(run_id, text.getvalue(), TABLE)


def read_numbers(client: MlflowClient, run_id: str) -> dict[str, float]:
    """The numbers of a run. A version before `numbers.csv` kept them as metrics, which are not among them."""
    if TABLE not in {item.path for item in client.list_artifacts(run_id)}:
        return {}
    try:
        with Path(client.download_artifacts(run_id, TABLE)).open(encoding="utf-8", newline="") as file:
            return {row["number"]: float(row["value"]) for row in csv.DictReader(file)}
    except (ValueError, TypeError, KeyError, csv.Error):  # damaged; `results` has the numbers too
        return {}
