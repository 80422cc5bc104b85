"""Cells are measured once per checkpoint, data and protocol; one that fails says so and stops no other."""

from __future__ import annotations

import logging
from dataclasses import replace
from unittest.mock import MagicMock

import numpy as np
import pytest

from assets.evaluated import CELLS, checked
from evaluation.dataset import CohortFilms
from evaluation.errors import EvaluationError
from evaluation.evaluator import Bench
from evaluation.protocol import DOWNSTREAM, OWN
from evaluation.results.store import read_results
from evaluation.tasks.adapters import TASKS, Setting, settings_of
from shards.writer import write_manifest
from tests.assets.seer import RUN, SIZE, WORDS, build

PROBE = [("linear_probe", Setting(0.1))]
BOTH = [("zero_shot_classification", Setting()), *PROBE]


def bench(workspace, protocol=OWN, run=RUN, **options):
    return Bench(CohortFilms(workspace, protocol), run, MagicMock(), logging.getLogger("test"), options, "cohort/")


def measured(workspace, cells=PROBE, **changes):
    """How many of the cells were measured anew."""
    return sum(not outcome.reused for outcome in bench(workspace, **changes).measure(cells))


def test_nothing_is_measured_twice_unless_checkpoint_data_or_protocol_change(cohort, seer):
    assert measured(cohort) == 2
    first = read_results(cohort.home_path())
    assert measured(cohort) == 0
    assert read_results(cohort.home_path()).equals(first)
    assert measured(cohort, run=replace(RUN, checkpoint_digest="other")) == 1  # untrained is as it was
    assert measured(cohort, linear_probe={"strength": 1}) == 2
    assert measured(cohort, protocol=replace(OWN, labels=("Edema",))) == 2
    assert measured(cohort, cells=[("linear_probe", Setting(0.1, draw=1))]) == 2
    folder = cohort.folder("shards")
    write_manifest(folder, [folder / "a.parquet"], WORDS, ("other",), SIZE, "phantom")
    assert measured(cohort) == 2


def test_found_numbers_are_those_that_were_measured(cohort, seer):
    first, again = ([outcome.values for outcome in bench(cohort).measure(BOTH)] for _ in range(2))
    assert first == again


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (EvaluationError("The weights are gone; train again."), "failed: The weights are gone; train again."),
        (KeyError("MRN 123"), "failed: KeyError in our code; the log of the run has the place."),
    ],
)
def test_a_failed_cell_is_a_row_stops_no_other_and_is_tried_again(cohort, seer, monkeypatch, caplog, error, note):
    def broken(network, setting, options):
        raise error

    monkeypatch.setitem(TASKS, "zero_shot_classification", replace(TASKS["zero_shot_classification"], score=broken))
    outcomes = list(bench(cohort).measure(BOTH))
    assert [outcome.failed for outcome in outcomes] == [True, True, False, False]
    rows = read_results(cohort.home_path(), {"task": "zero_shot_classification"}).to_pylist()
    assert {(row["metric"], row["class"], row["value"], row["note"]) for row in rows} == {
        ("auroc", "macro", None, note)
    }
    assert "MRN 123" not in caplog.text  # what a fault of ours quotes may be a patient's
    check = checked(["a"], outcomes)
    assert (check.check_name, check.passed, check.metadata["failed"].value) == (CELLS, False, 2)
    assert note in check.metadata["reasons"].value
    monkeypatch.undo()


def test_after_a_failure_only_what_failed_is_measured_again(cohort, seer, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(TASKS, "linear_probe", replace(TASKS["linear_probe"], score=lambda *asked: 1 / 0))
        list(bench(cohort).measure(BOTH))
    again = {outcome.task: outcome.reused for outcome in bench(cohort).measure(BOTH)}
    assert again == {"zero_shot_classification": True, "linear_probe": False}
    assert all(row["note"] == "" for row in read_results(cohort.home_path()).to_pylist())


def test_a_cohort_that_cannot_be_read_fails_every_cell(workspace):
    outcomes = list(bench(workspace).fail(BOTH, "The archive is gone."))
    assert [outcome.note for outcome in outcomes] == ["failed: The archive is gone."] * 4
    assert read_results(workspace.home_path()).num_rows == 4


def test_a_cohort_that_is_away_takes_no_number_that_was_measured(cohort, seer):
    list(bench(cohort).measure(PROBE))
    outcomes = list(bench(cohort).fail(BOTH, "The disk is not there."))
    assert [outcome.failed for outcome in outcomes] == [True, True, False, False]
    assert all(
        row["value"] is not None for row in read_results(cohort.home_path(), {"task": "linear_probe"}).to_pylist()
    )


def test_nothing_to_score_is_said_and_remembered(cohort, seer):
    asked = replace(OWN, zero_shot={})
    cells = [("zero_shot_classification", Setting())]
    (outcome, _) = bench(cohort, asked).measure(cells)
    assert outcome.note.startswith("nothing to score")
    assert not outcome.failed
    assert measured(cohort, cells, protocol=asked) == 0


def test_numbers_go_to_mlflow_under_names_it_takes(cohort, seer):
    at = bench(cohort)
    list(at.measure([("linear_probe", Setting(0.1, draw=1))]))
    names = {name for call in at.tracker.log_summary.call_args_list for name in call.args[0]}
    assert "cohort/linear_probe/10pct/draw1/auroc/macro" in names
    assert "cohort/linear_probe/10pct/untrained/draw1/auroc/Pleural Effusion" in names


def test_every_task_has_the_settings_of_its_kind():
    cells = settings_of(DOWNSTREAM["rsna_pneumonia"], [0.01, 1.0], 2)
    names = {task: [setting.name for name, setting in cells if name == task] for task, _ in cells}
    assert names["zero_shot_classification"] == ["zero-shot"]
    assert names["detection"] == ["1 %", "100 %"] * 2
    assert sorted(names["segmentation"]) == sorted(["1 %", "1 %, tuned", "100 %", "100 %, tuned"] * 2)


def test_other_draws_see_other_patients_and_new_films_see_the_same(cohort, seer):
    films = CohortFilms(cohort)
    first, again, other = (set(films.fraction(0.1, draw).subjects) for draw in (0, 0, 1))
    assert first == again != other
    assert first.isdisjoint(films.films("test").subjects)


def test_labels_follow_the_protocol(workspace):
    build(workspace)
    films = CohortFilms(workspace, replace(OWN, blank=0.0)).films("train")
    names = ["Edema", "Fracture"]
    assert not np.isnan(CohortFilms(workspace, replace(OWN, blank=0.0)).label_values(films, names)).any()
    assert np.isnan(CohortFilms(workspace).label_values(films, names)[:, 1]).all()
