"""A method, a dataset and a task of the docs, put into a copy of the checkout, appear as job, rows and command.

Nothing else is touched: a method is one file, a dataset two, a task one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from store.code import ROOMS, ROOT

LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "var", ".dagster", "tests", "__pycache__", ".*_cache", ".hypothesis")
RUN = """
ops:
  archive: {config: {studies: 60}}
  pretrained__toy:
    config: {epochs: 1, batch_size: 8, threads: 1, method_config: {width: 16}}
resources:
  evaluation:
    config: {fine_tune: {maximum_steps: 1}, segmentation: {maximum_steps: 1}, detection: {maximum_steps: 1}}
"""
FILES = (
    "cohorts/readers/toy_nodules.py",
    "cohorts/phantom/layouts/toy_nodules.py",
    "evaluation/tasks/nearest_neighbour.py",
)
EVALUATION = {
    "cohorts": ["toy_nodules"],
    "fractions": [1.0],
    "simulated_studies": 40,
    "fine_tune": {"maximum_steps": 1},
    "nearest_neighbour": {"neighbours": 3},
}


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)


class Checkout:
    """A copy of the checkout with the code of the docs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.printed = ""  # by the pretraining
        shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
        (method,) = blocks(folder / "docs" / "adding_a_method.md")
        assert len(method.splitlines()) <= 65
        (folder / "models" / "methods" / "toy.py").write_text(method)
        for name, text in zip(FILES, blocks(folder / "docs" / "adding_a_dataset.md"), strict=True):
            (folder / name).write_text(text)

    def run(self, *command: str) -> str:
        settings = {"DAGSTER_CLI_JOB_EXECUTE_MODULE_NAME": "pipelines.definitions", "PYTHONPATH": str(self.folder)}
        settings["RADALIGN_HOME"] = str(self.folder / "var")
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("RADALIGN", "DAGSTER"))}
        tool = Path(sys.executable).with_name(command[0])
        done = subprocess.run(
            [tool, *command[1:]], cwd=self.folder, env=ours | settings, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return done.stdout

    def rows(self) -> list[dict]:
        files = (self.folder / "var" / "results").glob("*.parquet")
        return [row for path in files for row in pq.read_table(path).to_pylist() if row["source"] == "measured"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Checkout:
    """The method is pretrained, and evaluated on the new dataset."""
    copy = Checkout(tmp_path_factory.mktemp("toy") / "checkout")
    (copy.folder / "pretrain.yaml").write_text(RUN)
    copy.printed = copy.run("radalign", "pretrain", "toy", "-c", "pretrain.yaml")
    config = {"resources": {"evaluation": {"config": EVALUATION}}}
    (copy.folder / "evaluate.yaml").write_text(json.dumps(config))
    copy.run("dagster", "job", "execute", "-j", "evaluate_toy", "-c", "evaluate.yaml")
    return copy


def test_the_jobs_fill_the_table(checkout):
    found = {(row["method"], row["cohort"], row["task"]) for row in checkout.rows() if row["value"] is not None}
    tasks = {"zero_shot_classification", "linear_probe", "fine_tune", "nearest_neighbour"}
    assert {("toy", "toy_nodules", task) for task in tasks} <= found
    assert {("untrained:toy", "toy_nodules", task) for task in tasks} <= found
    own = {task for method, cohort, task in found if (method, cohort) == ("toy", "phantom")}
    assert {"zero_shot_classification", "text_image_retrieval", "linear_probe"} <= own


def test_the_command_prints_a_line_per_stage_and_the_leading_numbers(checkout):
    stages, _, numbers = checkout.printed.partition("\n\n")
    begun = [line.split()[0] for line in stages.splitlines() if not line.startswith(" ")]
    assert {"archive", "images", "shards", "pretrained/toy", "evaluated/toy", "results"} <= set(begun)
    assert len(begun) == len(set(begun))
    headline, number, blank, head, _, *rows = numbers.partition("\n\nEverything")[0].splitlines()
    assert re.match(r"toy, pretrained on phantom \(simulated\) in \d+ s, 20.*, own recipe, \d changed", headline)
    assert re.match(r"  zero-shot AUROC \d\.\d{3} \[.*\], untrained \d\.\d{3} \[.*\]$", number)
    assert (blank, head.split()) == ("", ["dataset", "task,", "metric", "labels", "trained", "untrained"])
    stored = {(row["method"], row["task"]): row for row in checkout.rows() if row["class"] == "macro"}
    rows = rows[: rows.index("")]
    for row in rows:
        dataset, task, *_ = row.replace(",", "").split()
        assert re.search(r" -?\d\.\d{3} \[-?\d\.\d{3}, \d\.\d{3}\] +-?\d\.\d{3}$", row), row
        assert dataset == "phantom*"
        assert {("toy", task), ("untrained:toy", task)} <= stored.keys()
    assert str(checkout.folder / "var") in checkout.printed.splitlines()[-1]


def test_it_trained(checkout):
    (result,) = (checkout.folder / "var" / "checkpoints" / "toy").glob("*/result.json")
    assert '"steps"' in result.read_text()


def test_the_command_knows_them(checkout):
    assert "toy" in checkout.run("radalign", "methods").split()
    assert "neighbours" not in checkout.run("radalign", "methods", "toy")
    listed = checkout.run("radalign", "datasets")
    (line,) = [line for line in listed.splitlines() if line.startswith("toy_nodules")]
    assert "nearest_neighbour" in line
    assert "labels.csv" in checkout.run("radalign", "datasets", "toy_nodules")


def test_the_command_evaluates_them_and_finds_what_the_job_stored(checkout):
    root = checkout.folder / "var" / "toy_nodules" / "archive"
    table = checkout.run(
        *("radalign", "evaluate", "toy", "toy_nodules", "--root", str(root), "--task", "nearest_neighbour"),
        *("--fraction", "1"),
    )
    assert "nearest_neighbour" in table


def test_no_other_file_names_them(checkout):
    """A method is one file, a dataset two, a task one; tests and docs aside."""
    named = {"toy_nodules": FILES[:2], "nearest_neighbour": FILES[2:]}
    for name, files in named.items():
        holding = {
            path.relative_to(checkout.folder).as_posix()
            for room in (*ROOMS, "configs")
            for path in (checkout.folder / room).rglob("*")
            if path.suffix in {".py", ".yaml", ".csv"} and name in path.read_text(errors="ignore")
        }
        assert holding <= set(files)
        assert holding
