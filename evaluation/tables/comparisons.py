"""Compares methods in pairs, and each method with its untrained network, by the leading metric of each task.

Means over classes are tested by the paired bootstrap by patient, with the resamples that are kept with the results.
The AUROC of a class is tested by DeLong's test, where the scores of the images are available.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from evaluation.metrics.statistics import Comparison, compare_areas, holm, paired_bootstrap
from evaluation.metrics.values import MACRO
from evaluation.results.files import MEASURED, Say
from evaluation.results.resamples import KEY, read_resamples
from evaluation.results.summary import UNTRAINED, is_simulated
from evaluation.results.text_tables import LEADING

SAME = (
    "cohort",
    "task",
    "setting",
    "metric",
    "seed",
    "repeat",
    "data_version",
    "n",
)  # equal for two measurements that are compared
VARIANT = ":"  # between a method and the parts that it trains with: mgca:ITA+CTA
RELEASED = "released"  # the beginning of the variant of imported weights, which were trained by others on other data
BOOTSTRAP, DELONG = "bootstrap", "DeLong"

Row = Mapping[str, Any]
Resamples = Mapping[tuple[object, ...], Any]


@dataclass(frozen=True)
class Pair:
    """A number of two methods, measured on the same patients."""

    cohort: str
    task: str
    setting: str
    metric: str
    seed: int
    repeat: int
    first: str
    second: str
    comparison: Comparison
    class_name: str = MACRO
    test: str = BOOTSTRAP
    simulated: bool = False  # on simulated images
    pretraining: str = ""  # the cohort that the networks were pretrained on
    adjusted_p: float = float("nan")  # Holm's, over the pairs of the same measurement
    data_version: str = ""  # of the dataset


def compare_methods(results: pa.Table, folder: Path, log: Say) -> list[Pair]:
    """Compare all pairs in `results` whose resamples are in `folder`, the folder of the results.

    `log` is told of resamples that are damaged.
    """
    return compare_rows(results, read_leading_resamples(folder, log))


def read_leading_resamples(folder: Path, log: Say) -> Resamples:
    """The resamples of the leading metrics, kept in the folder of the results."""
    return read_resamples(folder, LEADING, MACRO, log)


def compare_rows(results: pa.Table, resamples: Resamples) -> list[Pair]:
    """Compare all pairs in `results` that have resamples."""
    rows = [row for row in results.to_pylist() if _is_comparable(row, resamples)]
    pairs: list[Pair] = []
    for _, group in groupby(sorted(rows, key=_make_group_key), key=_make_group_key):
        by_method = {row["method"]: row for row in group}
        chosen = _choose_pairs(by_method)
        pairs += _adjust_p([_compare_rows(by_method[first], by_method[second], resamples) for first, second in chosen])
    return pairs


def compare_scores(
    place: Mapping[str, Any],
    labels: np.ndarray,
    scores: Mapping[str, np.ndarray],
    classes: Sequence[str],
    subjects: Sequence[str] | np.ndarray,
) -> list[Pair]:
    """Compare all pairs of methods class by class, by their `scores` (images, classes) for the same images.

    `labels` (images, classes) hold 1, 0 or nan; `place` has the cohort, task, setting, seed and repeat of the scores,
    and whether they are simulated. A class of which fewer than two patients have either label is not tested.
    """
    pairs: list[Pair] = []
    for c, name in enumerate(classes):
        found = []
        for first, second in _choose_pairs(scores):
            compared = compare_areas(labels[:, c], scores[first][:, c], scores[second][:, c], subjects)
            tested = Pair(**place, metric="auroc", first=first, second=second, comparison=compared)
            found.append(replace(tested, class_name=name, test=DELONG))
        pairs += _adjust_p([pair for pair in found if not np.isnan(pair.comparison.p)])
    return pairs


def _is_comparable(row: Row, resamples: Mapping[tuple[object, ...], object]) -> bool:
    leading = row["metric"] in LEADING and row["class"] == MACRO and row["source"] == MEASURED
    return leading and row["value"] is not None and _make_resample_key(row) in resamples


def base_method(method: str) -> str:
    """The method that a name belongs to: mgca for mgca:ITA, untrained:mgca and mgca."""
    return method.removeprefix(UNTRAINED).partition(VARIANT)[0]


def is_released(method: str) -> bool:
    """Whether a network was imported: gloria:released, medclip:released-swin."""
    return method.partition(VARIANT)[2].partition("-")[0] == RELEASED


def _choose_pairs(methods: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of trained methods, and each with its untrained network. Variants are paired within their method only."""
    names = set(methods)
    trained = sorted(name for name in names if not name.startswith(UNTRAINED))
    pairs = [
        (first, second)
        for first, second in combinations(trained, 2)
        if VARIANT not in first + second or base_method(first) == base_method(second)
    ]
    return [*pairs, *((name, UNTRAINED + name) for name in trained if UNTRAINED + name in names)]


def _adjust_p(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs of one measurement, with p-values adjusted by Holm's rule."""
    adjusted = holm([pair.comparison.p for pair in pairs])
    return [replace(pair, adjusted_p=float(p)) for pair, p in zip(pairs, adjusted, strict=True)]


def _compare_rows(first: Row, second: Row, resamples: Mapping[tuple[object, ...], Any]) -> Pair:
    compared = paired_bootstrap(
        first["value"], second["value"], resamples[_make_resample_key(first)], resamples[_make_resample_key(second)]
    )
    shared = {name: first[name] for name in ("cohort", "task", "setting", "metric", "seed", "repeat", "data_version")}
    methods = {"first": first["method"], "second": second["method"]}
    return Pair(**shared, **methods, comparison=compared, simulated=is_simulated(first))


def _make_group_key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in SAME)


def _make_resample_key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)
