"""How well findings are told in the last nights, beside what was held out of the training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from cohorts.labels import label_matrix
from evaluation.metrics.classification import RESAMPLES, aurocs, patient_weights
from evaluation.metrics.values import MACRO, summarise
from evaluation.monitoring.nights import HELD_OUT, Series
from evaluation.monitoring.scored import number_patients

ACCURACY, MEAN = "accuracy", "mean AUROC"


def measure_accuracy(series: Series, window: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The AUROC of each finding and their mean over the nights of a window, beside those of what was held out."""
    findings = list(series.findings)
    held_out = _scored([series.tables[HELD_OUT]], findings)
    recent = _scored([series.tables[name] for name in window], findings)
    if held_out is None or recent is None:
        return
    before, now = _aurocs(*held_out, findings), _aurocs(*recent, findings)
    for quantity in (*findings, MACRO):
        if (value := now[quantity].value) is None:
            continue
        then = before[quantity]
        yield {
            "night": window[-1],
            "family": ACCURACY,
            "nights": len(window),
            "quantity": MEAN if quantity == MACRO else f"AUROC: {quantity}",
            "images": now[quantity].n,
            "value": value,
            "reference": then.value,
            "low": now[quantity].low,
            "high": now[quantity].high,
            "warned": False,
        }


def _aurocs(scores: np.ndarray, labels: np.ndarray, patients: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    points, resampled = aurocs(labels, scores, patient_weights(patients, RESAMPLES, 0))
    counts = (~np.isnan(labels)).sum(axis=0)
    return {value.class_name: value for value in summarise("auroc", names, points, resampled, counts)}


def _scored(tables: Sequence[pa.Table], findings: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Scores and labels (images, findings), 1, 0 or nan, and patients; None where there are no scores."""
    table = pa.concat_tables(tables)
    if not table.num_rows or table["scores"].null_count:
        return None
    labels = label_matrix(table["labels"], list(findings))
    known = np.where(np.isin(labels, (0, 1)), labels, np.nan)
    return label_matrix(table["scores"], list(findings)), known, number_patients(tables)
