"""How AUROC changes from dataset to dataset: every network of the home on every dataset that it was tested on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evaluation.metrics.values import MACRO
from evaluation.results.files import Say
from evaluation.results.latest import latest_by_pretraining
from evaluation.results.summary import UNTRAINED, MeasuredValue, is_simulated, summarise_rows
from ingestion.workspace import Workspace

TASK, METRIC, SETTING = "zero_shot_classification", "auroc", "zero-shot"


@dataclass(frozen=True)
class ShiftMatrix:
    """Mean zero-shot AUROC over classes: a line for each method and cohort of its training, a column for each test."""

    columns: tuple[str, ...]
    lines: Mapping[tuple[str, str], Mapping[str, MeasuredValue]]  # (train cohort, method) -> test cohort -> number
    simulated: frozenset[str]  # datasets whose images are simulated


def build_matrix(workspace: Workspace, log: Say) -> ShiftMatrix:
    """The matrix of the latest trainings of the home; seeds are summarised by their mean."""
    found: dict[tuple[str, str], dict[str, list[Mapping[str, object]]]] = {}
    simulated = set()
    for pretraining, results in latest_by_pretraining(workspace, log):
        for row in results.to_pylist():
            leading = (row["task"], row["metric"], row["setting"], row["class"]) == (TASK, METRIC, SETTING, MACRO)
            if leading and row["value"] is not None and not row["method"].startswith(UNTRAINED):
                line = found.setdefault((pretraining.cohort, row["method"]), {})
                line.setdefault(row["cohort"], []).append(row)
                simulated |= {row["cohort"]} if is_simulated(row) else set()
    own = list(dict.fromkeys(cohort for cohort, _ in found))
    others = sorted({cohort for line in found.values() for cohort in line} - set(own))
    lines = {key: {cohort: summarise_rows(rows) for cohort, rows in line.items()} for key, line in found.items()}
    return ShiftMatrix((*own, *others), lines, frozenset(simulated))
