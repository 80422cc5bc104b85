from __future__ import annotations

import csv
import re
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from evaluation.leakage.datasets import FILE as LEAKS_FILE
from evaluation.metrics.values import ResultValue, summarise
from evaluation.results.latest import latest_results
from evaluation.results.store import ResultKey, read_results, write_results
from evaluation.results.text_tables import LEADING, SIMULATION_NOTE
from evaluation.tables.build import write_tables
from evaluation.tables.comparisons import DELONG
from evaluation.tables.published import read_published
from evaluation.tasks.registry import task, task_names
from store.seals import write_sealed_json
from tracking import tracker as tracking
from tracking.runs import TrainedRun, remember

ADDRESS = "http://mlflow.example:5000/"


def write(home, method, checkpoint, run, cohort, level):
    """A probe of two classes, with its resamples."""
    rng = np.random.default_rng(0)
    resampled = level + 0.01 * rng.normal(size=(100, 2))
    values = summarise("auroc", ["Edema", "Atelectasis"], np.full(2, level), resampled, np.array([40, 40]))
    write_results(home, "linear_probe", ResultKey(method, checkpoint, run, cohort, "d", 0), values, "10 %")


@pytest.fixture
def measured(workspace):
    """Two methods with a latest run each, one of which has an older run, too."""
    home = workspace.home_path()
    for method, run, level in (("mgca", "run-a", 0.8), ("convirt", "run-b", 0.7)):
        remember(workspace, TrainedRun(method, "f", "o", run, "v", 0, f"{method} weights", f"{method} raw"))
        write(home, method, f"{method} weights", run, "chexpert", level)
        write(home, f"untrained:{method}", f"{method} raw", run, "chexpert", 0.6)
    write(home, "mgca", "older weights", "run-0", "chexpert", 0.99)
    write(home, "mgca", "mgca weights", "run-a", "phantom", 0.9)
    return workspace


def build(workspace):
    """Write the tables."""
    return write_tables(workspace, ADDRESS, print)


def test_the_tables_are_written_in_every_format(measured, monkeypatch):
    monkeypatch.setattr(tracking, "has_store", lambda home: True)
    monkeypatch.setattr(tracking, "experiment_id", lambda home: "7")
    written = build(measured)
    folder = measured.home_path() / "results" / "tables"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("index.html", "matrices.csv", "tables.csv", "tables.md", "tables.tex")
    ]
    assert written.page == folder / "index.html"
    page = written.page.read_text()
    links = set(re.findall(r'<a href="(http[^"]*)"', page))
    runs = [f"http://mlflow.example:5000/#/experiments/7/runs/{run}" for run in ("run-a", "run-b")]
    assert links == {f"{run}?workflowType=machine_learning" for run in runs}
    assert SIMULATION_NOTE in page
    rows = list(csv.DictReader((folder / "tables.csv").open()))
    mgca = [row for row in rows if row["method"] == "mgca" and row["data"] == "chexpert" and row["value"]]
    assert [float(row["value"]) for row in mgca] == pytest.approx([0.8] * len(mgca))  # nothing of the older run
    assert {row["published"] for row in mgca} >= {"0.891"}
    # convirt - mgca, and each with its untrained network
    assert len(written.document.pairs) == 3


def test_without_a_store_of_mlflow_there_are_no_links(measured):
    assert '<a href="http' not in build(measured).page.read_text()


def test_published_numbers_become_results_and_never_measured_ones(measured):
    before = latest_results(measured, every_cohort=True)
    build(measured)
    build(measured)
    table = read_results(measured.home_path())
    sources = table["source"].to_pylist()
    assert len(sources) - sources.count("measured") == len(read_published())
    assert latest_results(measured, every_cohort=True).equals(before)


class TwoLabels:
    """Stands for a dataset of 60 test images, every second of which shows an edema."""

    query_labels: ClassVar = ["Edema"]

    def __init__(self, workspace):
        pass

    def images(self, split):
        return SimpleNamespace(subjects=np.arange(60))

    def label_values(self, images, names):
        return np.tile([[0.0], [1.0]], (30, 1))


class KeptPredictions:
    """Stands for a network whose predictions for the test split are kept."""

    def __init__(self, dataset, run, weights, log):
        self.dataset = dataset
        self.noise = (0.1 if run.method == "mgca" else 2) if weights == "trained" else 9

    def zero_shot(self, split):
        labels = self.dataset.label_values(None, [])
        return SimpleNamespace(scores=labels + self.noise * np.random.default_rng(0).normal(size=(60, 1)))


def test_classes_are_tested_where_zero_shot_predictions_are_kept(measured, monkeypatch):
    monkeypatch.setattr("evaluation.tables.build.Predictions", KeptPredictions)
    monkeypatch.setattr("evaluation.tables.build.EvaluationDataset", TwoLabels)
    home = measured.home_path()
    for method in ("mgca", "convirt", "supervised"):
        value = ResultValue("auroc", "macro", 0.5, None, None, 1)
        key = ResultKey(method, f"{method} weights", "", "phantom", "d", 0)
        write_results(home, "zero_shot_classification", key, [value])
    build(measured)
    page = (home / "results" / "tables" / "tables.md").read_text()
    tests = [line for line in page.splitlines() if "| DeLong |" in line]
    assert [line.split(" | ")[8] for line in tests] == [
        "convirt - mgca",
        "convirt - untrained:convirt",
        "mgca - untrained:mgca",
    ]
    assert tests[0].startswith(
        "| phantom (simulated) | phantom, simulated | zero_shot_classification | zero-shot | auroc | Edema | 0 | 0 |"
    )


def test_classes_are_tested_by_study_where_studies_were_scored(measured, monkeypatch):
    monkeypatch.setattr("evaluation.tables.build.Predictions", KeptPredictions)
    monkeypatch.setattr("evaluation.tables.build.EvaluationDataset", TwoLabels)
    images = SimpleNamespace(subjects=np.arange(60) // 4, study_ids=np.arange(60) % 2)  # studies of two equal images
    monkeypatch.setattr(TwoLabels, "images", lambda self, split: images)
    home, found = measured.home_path(), {}
    for setting in ("zero-shot", "zero-shot, by study"):
        for method in ("mgca", "convirt"):
            key = ResultKey(method, f"{method} weights", "", "phantom", "d", 0)
            value = ResultValue("auroc", "macro", 0.5, None, None, 1)
            write_results(home, "zero_shot_classification", key, [value], setting)
        pairs = build(measured).document.pairs
        found |= {pair.setting: pair for pair in pairs if (pair.test, pair.second) == (DELONG, "mgca")}
    assert set(found) == {"zero-shot", "zero-shot, by study"}
    labels, scores = np.tile([0.0, 1.0], 15), {}
    for method, noise in (("convirt", 2), ("mgca", 0.1)):
        every = np.tile([0.0, 1.0], 30) + noise * np.random.default_rng(0).normal(size=(60, 1))[:, 0]
        scores[method] = every.reshape(15, 2, 2).mean(axis=1).reshape(30)
    expected = roc_auc_score(labels, scores["convirt"]) - roc_auc_score(labels, scores["mgca"])
    assert found["zero-shot, by study"].comparison.difference == pytest.approx(expected)
    assert found["zero-shot"].comparison.difference != pytest.approx(expected)


def test_networks_of_one_seed_are_tested_with_each_other(measured, monkeypatch):
    monkeypatch.setattr("evaluation.tables.build.Predictions", KeptPredictions)
    monkeypatch.setattr("evaluation.tables.build.EvaluationDataset", TwoLabels)
    for method, seed, variant in (("mgca", 1, ""), ("convirt", 1, ""), ("mgca", 1, "ITA")):
        run = TrainedRun(method, "f", "o", "run", "v", seed, f"{method} {variant} {seed}", "raw", variant)
        remember(measured, run)
        key = ResultKey(run.name, run.checkpoint_digest, "", "phantom", "d", seed)
        write_results(
            measured.home_path(),
            "zero_shot_classification",
            key,
            [ResultValue("auroc", "macro", 0.5, None, None, 1)],
        )
    build(measured)
    page = (measured.home_path() / "results" / "tables" / "tables.md").read_text()
    tests = [line.split(" | ") for line in page.splitlines() if "| DeLong |" in line]
    assert {line[6] for line in tests} == {"1"}
    assert [line[8] for line in tests] == [
        "convirt - mgca",
        "mgca - mgca:ITA",
        "convirt - untrained:convirt",
        "mgca - untrained:mgca",
        "mgca:ITA - untrained:mgca:ITA",
    ]


def test_every_task_is_compared_by_its_leading_metric():
    assert {task(name).leading for name in task_names()} <= set(LEADING)


def test_what_was_seen_before_is_shown_of_the_cohort_that_was_checked(measured):
    path = measured.home_path() / "results" / LEAKS_FILE
    for pretraining, shown in (("phantom", True), ("another", False)):
        write_sealed_json(path, {"pretraining": pretraining, "found": ["3 of 9 patients were seen."]})
        build(measured)
        page = (measured.home_path() / "results" / "tables" / "index.html").read_text()
        assert ("3 of 9 patients were seen." in page) is shown
