"""Which methods differ: every pair of them, and each with its untrained self, on one measurement of each task.

The test is the paired bootstrap by patient, over the resamples that are kept with the results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from evaluation.resamples import KEY, read_resamples
from evaluation.results import MEASURED
from evaluation.statistics import Comparison, holm, paired_bootstrap
from evaluation.values import MACRO

LEADING = ("auroc", "pointing_game", "precision_at_5", "map", "dice", "recall_at_1")  # one of each task
SAME = ("cohort", "task", "setting", "metric", "seed", "data_version", "n")  # what two measurements to compare share
UNTRAINED = "untrained:"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Pair:
    """The mean over classes of two methods, measured on the same patients."""

    cohort: str
    task: str
    setting: str
    metric: str
    seed: int
    first: str
    second: str
    comparison: Comparison
    adjusted_p: float = float("nan")  # Holm's, over the pairs of the same measurement


def compare_methods(results: pa.Table, folder: Path) -> list[Pair]:
    """All pairs in `results` whose resamples are in `folder`, that of the results."""
    resamples = read_resamples(folder, LEADING, MACRO)
    rows = [row for row in results.to_pylist() if _comparable(row, resamples)]
    pairs: list[Pair] = []
    for _, group in groupby(sorted(rows, key=_same), key=_same):
        found = [_pair(*rows, resamples) for rows in _chosen(list(group))]
        adjusted = holm([pair.comparison.p for pair in found])
        pairs += [replace(pair, adjusted_p=float(p)) for pair, p in zip(found, adjusted, strict=True)]
    return pairs


def _comparable(row: Row, resamples: Mapping[tuple[object, ...], object]) -> bool:
    leading = row["metric"] in LEADING and row["class"] == MACRO and row["source"] == MEASURED
    return leading and row["value"] is not None and _key(row) in resamples


def _chosen(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Trained with trained, and trained with its own untrained network, one row per method."""
    by_method = {row["method"]: row for row in rows}
    trained = sorted(name for name in by_method if not name.startswith(UNTRAINED))
    names = [*combinations(trained, 2), *((name, UNTRAINED + name) for name in trained)]
    return [(by_method[first], by_method[second]) for first, second in names if second in by_method]


def _pair(first: Row, second: Row, resamples: Mapping[tuple[object, ...], Any]) -> Pair:
    compared = paired_bootstrap(first["value"], second["value"], resamples[_key(first)], resamples[_key(second)])
    shared = {name: first[name] for name in ("cohort", "task", "setting", "metric", "seed")}
    return Pair(**shared, first=first["method"], second=second["method"], comparison=compared)


def _same(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in SAME)


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)
