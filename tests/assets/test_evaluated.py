"""The asset of a method on its own cohort: both networks, every task or those of the run's tag, and its check."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import MagicMock

import dagster as dg
import pytest

from assets.evaluated import CHECK, TASKS_TAG, check_results, evaluated_asset
from assets.settings.evaluation import EvaluationSettings, chosen_evaluation
from cohorts.subsets import FRACTIONS
from evaluation.errors import EvaluationError
from evaluation.evaluator import Outcome
from evaluation.results.store import read_results
from evaluation.tasks.base import Setting
from evaluation.tasks.registry import own_tasks, task
from pipelines.definitions import defs
from pipelines.jobs import AT_ONCE
from tests.evaluation.seer import RUN, Mute


@pytest.fixture(autouse=True)
def finished_run(monkeypatch):
    """A run whose record is not in MLflow."""
    monkeypatch.setattr("assets.evaluated.runs_to_evaluate", lambda workspace, method, every: [RUN])
    monkeypatch.setattr("tracking.tracker.attach", lambda *given: MagicMock())


def materialize(cohort, *tasks, **settings):
    """The result, and the asset's metadata as plain values."""
    resources = {"workspace": cohort, "evaluation": EvaluationSettings(fractions=[0.1], **settings)}
    tags = {TASKS_TAG: ",".join(tasks)} if tasks else {}
    result = dg.materialize([evaluated_asset("medklip")], resources=resources, tags=tags)
    (event,) = result.asset_materializations_for_node("evaluated__medklip")
    return result, {name: value.value for name, value in event.metadata.items()}


def test_the_asset_writes_both_networks_with_their_setting(cohort, seer):
    _, metadata = materialize(cohort, "linear_probe")
    assert metadata["linear_probe auroc 10 %"] > 0.9
    assert "Pleural Effusion" in metadata["numbers"]
    rows = read_results(cohort.plain().home_path(), {"task": "linear_probe"}).to_pylist()
    assert {(row["method"], row["setting"]) for row in rows} == {("medklip", "10 %"), ("untrained:medklip", "10 %")}


def test_the_asset_scores_studies_where_that_is_asked_for(cohort, seer):
    _, metadata = materialize(cohort, "zero_shot_classification", "text_image_retrieval", unit="study")
    assert metadata["zero_shot_classification auroc zero-shot, by study"] > 0.9
    assert metadata["text_image_retrieval precision_at_5"] > 0.9
    rows = read_results(cohort.plain().home_path(), {"method": "medklip"}).to_pylist()
    assert {(row["task"], row["setting"]) for row in rows} == {
        ("zero_shot_classification", "zero-shot, by study"), ("text_image_retrieval", "zero-shot"),
    }  # fmt: skip


def test_the_asset_of_what_is_not_available_says_so(cohort, monkeypatch):
    monkeypatch.setattr("models.saved.load_method", lambda output, weights: Mute())
    result, metadata = materialize(cohort, "text_image_retrieval")
    assert "not available: Mute has no joint space." in metadata["numbers"]
    for row in read_results(cohort.plain().home_path()).to_pylist():
        assert (row["value"], row["note"]) == (None, "not available: Mute has no joint space.")
    assert all(check.passed for check in result.get_asset_check_evaluations())


def test_every_task_is_rows_of_one_asset_with_its_figures_and_one_check(cohort, seer):
    result, metadata = materialize(cohort)
    assert (metadata["computed"], metadata["found in results"]) == (2 * len(own_tasks()), 0)
    for name in own_tasks():
        assert f"| {name} |" in metadata["numbers"]
        if name == "image_image_retrieval":  # too few images for these settings
            continue
        setting = " 10 %" if name == "linear_probe" else ""
        assert f"{name} {task(name).leading}{setting}" in metadata
        assert f"{name} {task(name).leading}{setting} untrained" in metadata
    assert {"roc curves", "radar", "heat maps"} <= set(metadata)
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == (CHECK, True)
    _, again = materialize(cohort)
    assert (again["computed"], again["found in results"]) == (0, 2 * len(own_tasks()))
    assert again["numbers"] == metadata["numbers"]


def test_a_fault_of_one_task_stops_no_other_and_is_told_by_the_check(cohort, seer, monkeypatch):
    monkeypatch.setattr(type(task("linear_probe")), "score", lambda *given: 1 / 0)
    result, metadata = materialize(cohort, "linear_probe", "zero_shot_classification")
    assert metadata["zero_shot_classification auroc"] == 1
    (check,) = result.get_asset_check_evaluations()
    assert (check.passed, check.metadata["failed"].value, check.metadata["results"].value) == (False, 2, 4)
    assert "failed: ZeroDivisionError in our code" in check.metadata["reasons"].value


def test_the_check_names_what_failed():
    note = "failed: The weights are gone; train again."
    failed = Outcome(RUN, "phantom", "linear_probe", Setting(0.1), "trained", [], note, False, 0.0)
    check = check_results(
        dg.AssetKey("a"), [failed, replace(failed, note="not available: no text")], {"cohort": "open_i"}
    )
    assert (check.check_name, check.passed, check.metadata["failed"].value) == (CHECK, False, 1)
    assert note in check.metadata["reasons"].value


def test_a_fraction_that_has_no_table_is_one_sentence():
    with pytest.raises(EvaluationError, match=r"evaluation: fractions names 0.05, which is not one of 0.01, 0.1, 1.0."):
        chosen_evaluation(EvaluationSettings(fractions=[0.05, 1.0]), "demo", {})
    assert tuple(chosen_evaluation(EvaluationSettings(), "demo", {}).amount.fractions) == FRACTIONS


def test_pretraining_evaluates_some_tasks_and_the_evaluation_all():
    repository = defs.get_repository_def()
    pretrain, evaluate = (repository.get_job(f"{kind}_medklip") for kind in ("pretrain", "evaluate"))
    assert pretrain.tags[TASKS_TAG].split(",") == list(AT_ONCE)
    assert set(AT_ONCE) <= set(own_tasks())
    assert TASKS_TAG not in evaluate.tags
    asked = evaluate.asset_layer.executable_asset_keys
    assert {dg.AssetKey(["evaluated", "medklip"]), dg.AssetKey(["downstream", "medklip"])} <= asked
    assert dg.AssetKey(["dataset", "rsna_pneumonia"]) in asked
    assert dg.AssetKey(["pretrained", "medklip"]) not in asked
    assert dg.AssetKey(["downstream", "medklip"]) not in pretrain.asset_layer.executable_asset_keys


def test_a_method_has_five_assets():
    expected = {"pretrained", "evaluated", "downstream", "audited", "monitored"}
    keys = defs.resolve_asset_graph().get_all_asset_keys()
    assert {key.path[0] for key in keys if "medklip" in key.path} == expected
