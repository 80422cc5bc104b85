"""The table of docs/evaluation.md names the tasks of each dataset, and its example can be run."""

from __future__ import annotations

import re

import dagster as dg
import pytest
import yaml

from cohorts.registry import _reader, cohort_names, dataset
from evaluation.tasks.registry import own_tasks, task, task_names, tasks_on
from pipelines.definitions import defs
from store.code import ROOT

PAGE = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in PAGE.splitlines() if line.startswith("| ")]


def names(cell):
    return tuple(re.findall(r"`([^`]+)`", cell))


@pytest.mark.parametrize("cohort", [name for name in cohort_names() if name != "phantom"])
def test_the_page_says_which_tasks_and_splits_a_dataset_has(cohort):
    (row,) = [row for row in ROWS if row[0].strip("| ") == f"`{cohort}`" and len(row) == 4]
    assert names(row[1]) == tasks_on(dataset(cohort))
    assert names(row[3]) == tuple(_reader(cohort).splits)


def test_the_page_says_which_tasks_the_cohort_of_the_pretraining_has():
    (row,) = [row for row in ROWS if "that of the pretraining" in row[0]]
    assert names(row[1]) == own_tasks()


def test_the_metrics_of_every_task_are_named():
    start = PAGE.index("## Numbers")
    rows = [line for line in PAGE[start:].splitlines() if line.startswith("| `")]
    told = {name for line in rows for name in names(line.split(" | ")[0])}
    assert told == set(task_names())
    assert {task(name).leading for name in task_names()} <= set(names(PAGE[start:]))


def test_the_example_is_a_run_configuration():
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert dg.validate_run_config(defs.resolve_job_def("evaluate_medklip"), yaml.safe_load(example))
