from __future__ import annotations

from dataclasses import replace

import dagster as dg
import numpy as np
import pytest

from assets.tables import TablesConfig, results_asset, tables_asset
from evaluation.metrics.values import summarise
from evaluation.results.store import ResultKey, write_results
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
    home = workspace.plain().home_path()
    for method, run, level in (("mgca", "run-a", 0.8), ("convirt", "run-b", 0.7)):
        remember(workspace.plain(), TrainedRun(method, "f", "o", run, "v", 0, f"{method} weights", f"{method} raw"))
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


def test_the_asset_tells_what_it_wrote(measured, monkeypatch):
    (event,) = materialize(measured, monkeypatch).asset_materializations_for_node("tables")
    folder = measured.plain().home_path() / "results" / "tables"
    assert event.metadata["page"].value == str(folder / "index.html")
    assert "http://mlflow.example:5000/#/experiments/7/runs/run-a" in (folder / "index.html").read_text()
    assert event.metadata["measured beside published"].value > 0
    assert event.metadata["pairs"].value == 3


def test_the_tables_can_be_made_before_anything_was_measured(workspace):
    result = dg.materialize([tables_asset], resources={"workspace": workspace})
    (event,) = result.asset_materializations_for_node("tables")
    assert event.metadata["measured beside published"].value == 0


def test_an_address_that_is_none_is_one_sentence(measured, monkeypatch):
    monkeypatch.setitem(globals(), "ADDRESS", "mlflow")
    with pytest.raises(dg.Failure, match="The address of MLflow must begin with http"):
        materialize(measured, monkeypatch)


def test_the_results_say_which_pretraining_they_are_of(measured):
    place = replace(measured.plain(), cohort="open_i")
    remember(place, TrainedRun("mgca", "f", "o", "run-c", "v", 0, "other weights", "other raw"))
    write(place.home_path(), "mgca", "other weights", "run-c", "open_i", 0.4)
    results = results_asset([])
    (event,) = dg.materialize([results], resources={"workspace": measured}).asset_materializations_for_node("results")
    text = event.metadata["tables"].value
    for part in ("- mgca, pretrained on open_i: ", "- convirt, pretrained on phantom (simulated): ", "0.400"):
        assert part in text
    assert "## Pretrained on phantom (simulated)" in text
    named = {record.data["pretraining"] for record in event.metadata["methods"].records}
    assert named == {"phantom", "open_i"}
    first = event.metadata["numbers"].records[0].data
    assert (first["pretraining"], first["method"], first["cohort"]) == ("open_i", "mgca", "open_i")
