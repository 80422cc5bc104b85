from __future__ import annotations

import csv
import re

import dagster as dg
import numpy as np
import pytest

from assets import tracking
from assets.evaluated import latest_results
from assets.tables import TablesConfig, tables_asset
from assets.training_runs import TrainedRun, remember
from evaluation.published import read_published
from evaluation.results import ResultKey, read_results, write_results
from evaluation.values import summarise

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


def materialize(workspace, monkeypatch):
    monkeypatch.setattr(tracking, "has_store", lambda home: True)
    monkeypatch.setattr(tracking, "experiment_id", lambda home: "7")
    run_config = dg.RunConfig({"tables": TablesConfig(mlflow_url=ADDRESS)})
    return dg.materialize([tables_asset], resources={"workspace": workspace}, run_config=run_config)


def test_the_tables_are_written_in_every_format(measured, monkeypatch):
    (event,) = materialize(measured, monkeypatch).asset_materializations_for_node("tables")
    folder = measured.home_path() / "results" / "tables"
    assert sorted(path.name for path in folder.iterdir()) == ["index.html", "tables.csv", "tables.md", "tables.tex"]
    page = (folder / "index.html").read_text()
    links = set(re.findall(r'<a href="([^"]*)"', page))
    assert links == {f"http://mlflow.example:5000/#/experiments/7/runs/{run}" for run in ("run-a", "run-b")}
    assert "The phantom cohort is a simulation" in page
    rows = list(csv.DictReader((folder / "tables.csv").open()))
    mgca = [row for row in rows if row["method"] == "mgca" and row["data"] == "chexpert" and row["value"]]
    assert [float(row["value"]) for row in mgca] == pytest.approx([0.8] * len(mgca))  # nothing of the older run
    assert {row["published"] for row in mgca} >= {"0.88", "0.891"}
    assert event.metadata["measured beside published"].value > 0
    # convirt - mgca, and each with its untrained self
    assert event.metadata["pairs"].value == 3


def test_published_numbers_become_results_and_never_measured_ones(measured, monkeypatch):
    before = latest_results(measured, every_cohort=True)
    materialize(measured, monkeypatch)
    materialize(measured, monkeypatch)
    table = read_results(measured.home_path())
    sources = table["source"].to_pylist()
    assert len(sources) - sources.count("measured") == len(read_published())
    assert latest_results(measured, every_cohort=True).equals(before)


def test_the_tables_can_be_made_before_anything_was_measured(workspace):
    result = dg.materialize([tables_asset], resources={"workspace": workspace})
    (event,) = result.asset_materializations_for_node("tables")
    assert event.metadata["measured beside published"].value == 0


def test_an_address_that_is_none_is_one_sentence(measured, monkeypatch):
    monkeypatch.setitem(globals(), "ADDRESS", "mlflow")
    with pytest.raises(dg.Failure, match="The address of MLflow must begin with http"):
        materialize(measured, monkeypatch)
