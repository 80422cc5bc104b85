"""The table of docs/evaluation.md is the protocol's, and its example can be run."""

from __future__ import annotations

import re
from importlib import import_module

import dagster as dg
import pytest
import yaml
from evaluation.protocol import DOWNSTREAM
from evaluation.tasks.adapters import OWN_TASKS, TASKS

from cohorts.registry import _READERS
from pipelines.definitions import defs
from store.code import ROOT

PAGE = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in PAGE.splitlines() if line.startswith("| ")]


def names(cell):
    return tuple(re.findall(r"`([^`]+)`", cell))


def families(cohort):
    module, reader = _READERS[cohort].split(":")
    return getattr(import_module(module), reader).splits


@pytest.mark.parametrize("cohort", DOWNSTREAM)
def test_the_page_says_what_is_asked_on_a_cohort_and_which_splits_it_has(cohort):
    (row,) = [row for row in ROWS if row[0].strip("| ") == f"`{cohort}`" and len(row) == 4]
    assert names(row[1]) == DOWNSTREAM[cohort].tasks
    assert names(row[3]) == families(cohort)


def test_the_page_says_what_is_asked_on_the_cohort_of_the_pretraining():
    (row,) = [row for row in ROWS if "that of the pretraining" in row[0]]
    assert names(row[1]) == OWN_TASKS


def test_the_metrics_of_every_task_are_named():
    start = PAGE.index("## Numbers")
    rows = [line for line in PAGE[start:].splitlines() if line.startswith("| `")]
    told = {name for line in rows for name in names(line.split(" | ")[0])}
    assert told == set(TASKS)
    assert {task.leading for task in TASKS.values()} <= set(names(PAGE[start:]))


def test_the_example_is_a_run_configuration():
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert dg.validate_run_config(defs.resolve_job_def("evaluate_medklip"), yaml.safe_load(example))
