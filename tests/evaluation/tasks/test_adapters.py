"""Every task on a tiny cohort, whose findings are bright quarters, asked of a method that sees quarters."""

from __future__ import annotations

from unittest.mock import MagicMock

import dagster as dg
import numpy as np
import pytest

from assets.evaluated import evaluated_asset
from assets.settings import EvaluationSettings
from evaluation.dataset import CohortFilms
from evaluation.errors import EvaluationError, NotAvailableError
from evaluation.results.store import read_results
from evaluation.tasks.adapters import OWN_TASKS, TASKS
from tests.assets.seer import LABELS, RUN, WORDS, Mute, Seer, network

OPTIONS = {"image_image_retrieval": {"queries": 2}, "phrase_grounding": {"smoothing": 0.0}}


def score(task, asked):
    """Of its first setting."""
    return TASKS[task].score(asked, next(TASKS[task].settings([0.1], 1)), OPTIONS.get(task, {}))


def macro(values, metric):
    return next(value for value in values if (value.metric, value.class_name) == (metric, "macro"))


def test_every_task_scores_what_the_method_sees(cohort, seer):
    values = {name: score(name, network(cohort)) for name in OWN_TASKS}
    assert macro(values["zero_shot_classification"], "auroc").value == 1
    assert macro(values["zero_shot_classification"], "f1_by_validate_mcc").value > 0.9
    assert macro(values["zero_shot_classification"], "f1_by_test_f1").value < 1  # the film at the threshold is negative
    assert macro(values["text_image_retrieval"], "precision_at_5").value == 1
    assert macro(values["image_image_retrieval"], "precision_at_5").value > 0.9
    assert macro(values["image_report_retrieval"], "recall_at_1").value == 1
    assert macro(values["phrase_grounding"], "pointing_game").value == 1
    assert macro(values["zero_shot_grounding"], "pointing_game_chance").value < 0.3
    assert macro(values["linear_probe"], "auroc").value > 0.9
    assert [value.class_name for value in values["linear_probe"]] == [*LABELS, "macro"]
    assert all(
        task.leading in {value.metric for value in values[name]} for name, task in TASKS.items() if name in values
    )


def test_no_answer_is_computed_twice(cohort, seer):
    for task in OWN_TASKS:
        score(task, network(cohort))
    first = seer.shown
    for task in OWN_TASKS:
        score(task, network(cohort))
    assert seer.shown == first
    score("linear_probe", network(cohort, "untrained"))
    assert seer.shown > first


def test_features_are_asked_for_of_the_chosen_tenth_of_the_films_only(cohort, seer):
    score("linear_probe", network(cohort))
    held = [len(CohortFilms(cohort).films(split)) for split in ("validate", "test", "train")]
    assert sum(held[:2]) < seer.shown < sum(held[:2]) + held[2] / 4


def test_chosen_films_keep_their_rows_labels_and_pixels_together(cohort, seer):
    films = CohortFilms(cohort).films("test")
    chosen = films.select(np.array([5, 0, 3]))
    assert chosen.image_ids.tolist() == films.image_ids[[5, 0, 3]].tolist()
    assert chosen.labels.to_pylist() == [films.labels.to_pylist()[place] for place in (5, 0, 3)]
    every = network(cohort).features(films)
    np.testing.assert_array_equal(network(cohort).features(chosen), every[[5, 0, 3]])


@pytest.mark.parametrize("task", OWN_TASKS)
def test_what_a_method_cannot_do_is_not_available(cohort, monkeypatch, task):
    monkeypatch.setattr("training.state.checkpoint.load_method", lambda output, weights: Mute())
    with pytest.raises(NotAvailableError, match="Mute has no"):
        score(task, network(cohort))


def materialize(cohort, monkeypatch, task):
    """The asset's metadata, as plain values."""
    monkeypatch.setattr("evaluation.evaluator.runs_to_evaluate", lambda workspace, method, every: [RUN])
    monkeypatch.setattr("tracking.tracker.attach", lambda home, run: MagicMock())
    resources = {"workspace": cohort, "evaluation": EvaluationSettings(fractions=[0.1])}
    result = dg.materialize([evaluated_asset("medklip", task)], resources=resources)
    (event,) = result.asset_materializations_for_node(f"evaluated__medklip__{task}")
    return {name: value.value for name, value in event.metadata.items()}


def test_the_asset_writes_both_networks_with_their_setting(cohort, seer, monkeypatch):
    metadata = materialize(cohort, monkeypatch, "linear_probe")
    assert metadata["auroc 10 %"] > 0.9
    assert "Pleural Effusion" in metadata["numbers"]
    rows = read_results(cohort.home_path(), {"task": "linear_probe"}).to_pylist()
    assert {(row["method"], row["setting"]) for row in rows} == {("medklip", "10 %"), ("untrained:medklip", "10 %")}


def test_the_asset_of_what_is_not_available_says_so(cohort, monkeypatch):
    monkeypatch.setattr("training.state.checkpoint.load_method", lambda output, weights: Mute())
    assert (
        "not available: Mute has no joint space." in materialize(cohort, monkeypatch, "text_image_retrieval")["numbers"]
    )
    for row in read_results(cohort.home_path()).to_pylist():
        assert (row["value"], row["note"]) == (None, "not available: Mute has no joint space.")


def test_missing_fractions_are_said(cohort, seer):
    (cohort.folder("subsets") / "subsets.parquet").unlink()
    with pytest.raises(EvaluationError, match="materialize the asset `subsets`"):
        score("linear_probe", network(cohort))


def test_queries_are_what_the_method_understands(cohort, seer, monkeypatch):
    asked = []
    monkeypatch.setattr(Seer, "zero_shot", lambda self, images, queries: asked.append(queries) or 1 / 0)
    for kind, queries in (("label", list(LABELS)), ("entity", list(WORDS))):
        monkeypatch.setattr(Seer, "query_kind", kind)
        with pytest.raises(ZeroDivisionError):
            network(cohort).examine("test")
        assert asked[-1] == queries
