"""Results are computed once per checkpoint, data and protocol; one that fails says so and stops no other."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import MagicMock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cohorts.dataset import Dataset
from cohorts.registry import dataset
from cohorts.tables import STUDIES
from evaluation.dataset import EvaluationDataset
from evaluation.errors import EvaluationError
from evaluation.evaluator import Evaluator
from evaluation.results.store import read_results
from evaluation.tasks.base import Setting
from evaluation.tasks.registry import repeated_settings, task, tasks_on
from shards.writer import write_manifest
from store.seals import write_sealed_table
from tests.evaluation.seer import RUN, SIZE, WORDS, build, write_run

OWN = Dataset("phantom")
PROBE = [("linear_probe", Setting(0.1))]
BOTH = [("zero_shot_classification", Setting()), *PROBE]
IMAGES = [("image_image_retrieval", Setting())]


def evaluator(workspace, facts=OWN, run=RUN, warn=None, **options):
    data = EvaluationDataset(workspace, facts)
    return Evaluator(data, run, options, lambda line: None, MagicMock(), "cohort/", warn)


def computed(workspace, settings=PROBE, **changes):
    """How many of the results were computed anew."""
    return sum(not outcome.reused for outcome in evaluator(workspace, **changes).evaluate_settings(settings))


def test_nothing_is_computed_twice_unless_checkpoint_data_or_protocol_change(cohort, seer):
    assert computed(cohort) == 2
    first = read_results(cohort.home_path())
    assert computed(cohort) == 0
    assert read_results(cohort.home_path()).equals(first)
    assert computed(cohort, run=write_run(cohort, b"other weights")) == 1  # untrained is as it was
    write_run(cohort)
    assert computed(cohort, facts=replace(OWN, classes=("Edema",))) == 2
    assert computed(cohort, settings=[("linear_probe", Setting(0.1, repeat=1))]) == 2
    folder = cohort.folder("shards")
    write_manifest(folder, [folder / "a.parquet"], WORDS, ("other",), SIZE, "phantom")
    assert computed(cohort) == 2


def test_settings_of_a_task_change_its_results_and_no_others(cohort, seer):
    assert computed(cohort, IMAGES) == 2
    assert computed(cohort, IMAGES, image_image_retrieval={"queries": 10}) == 0  # the default, said aloud
    assert computed(cohort, PROBE) == 2
    assert computed(cohort, IMAGES, image_image_retrieval={"queries": 2}) == 2
    assert computed(cohort, PROBE, image_image_retrieval={"queries": 2}) == 0


def test_label_fractions_and_regions_change_the_results_that_read_them(cohort, seer):
    settings = [*BOTH, ("zero_shot_grounding", Setting())]
    assert computed(cohort, settings) == 6
    path = cohort.folder("subsets") / "subsets.parquet"
    table = pq.read_table(path)
    write_sealed_table(table.slice(1), path)
    again = {outcome.task: outcome.reused for outcome in evaluator(cohort).evaluate_settings(settings)}
    assert again == {"zero_shot_classification": True, "linear_probe": False, "zero_shot_grounding": True}
    path = cohort.folder("studies") / "studies.parquet"
    rows = pq.read_table(path).to_pylist()
    shapes = next(row["shapes"] for row in rows if row["split"] == "test" and row["shapes"])
    shapes[0]["points"][2] += 1
    write_sealed_table(pa.Table.from_pylist(rows, STUDIES), path)
    again = {outcome.task: outcome.reused for outcome in evaluator(cohort).evaluate_settings(settings)}
    assert again == {"zero_shot_classification": True, "linear_probe": True, "zero_shot_grounding": False}


def test_purposes_decide_which_tasks_there_are_and_nothing_else(cohort, seer):
    assert computed(cohort) == 2
    assert computed(cohort, facts=replace(OWN, purposes=("classes",))) == 0


def test_numbers_that_are_read_are_those_that_were_computed(cohort, seer):
    first, again = ([outcome.values for outcome in evaluator(cohort).evaluate_settings(BOTH)] for _ in range(2))
    assert first == again


def test_every_outcome_is_rows_of_a_table(cohort, seer):
    outcomes = list(evaluator(cohort).evaluate(["linear_probe", "text_image_retrieval"], [0.1], 2, untrained=False))
    rows = [row for outcome in outcomes for row in outcome.rows()]
    assert {(row["method"], row["cohort"], row["task"], row["setting"], row["repeat"]) for row in rows} == {
        ("medklip", "phantom", "linear_probe", "10 %", 0),
        ("medklip", "phantom", "linear_probe", "10 %", 1),
        ("medklip", "phantom", "text_image_retrieval", "zero-shot", 0),
    }
    assert [row["value"] for row in rows] == [value.value for outcome in outcomes for value in outcome.values]


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (EvaluationError("The weights are gone; train again."), "failed: The weights are gone; train again."),
        (KeyError("MRN 123"), "failed: KeyError in our code; the log of the run has the place."),
    ],
)
def test_a_failed_result_is_a_row_stops_no_other_and_is_tried_again(cohort, seer, monkeypatch, error, note):
    def broken(self, predictions, setting, settings):
        raise error

    warnings = []
    monkeypatch.setattr(type(task("zero_shot_classification")), "score", broken)
    outcomes = list(evaluator(cohort, warn=warnings.append).evaluate_settings(BOTH))
    assert [outcome.failed for outcome in outcomes] == [True, True, False, False]
    rows = read_results(cohort.home_path(), {"task": "zero_shot_classification"}).to_pylist()
    assert {(row["metric"], row["class"], row["value"], row["note"]) for row in rows} == {
        ("auroc", "macro", None, note)
    }
    assert warnings
    assert "MRN 123" not in "".join(warnings)  # what a fault of ours quotes may be a patient's
    assert [row["note"] for outcome in outcomes[:2] for row in outcome.rows()] == [note] * 2


def test_after_a_failure_only_what_failed_is_computed_again(cohort, seer, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(type(task("linear_probe")), "score", lambda *given: 1 / 0)
        list(evaluator(cohort).evaluate_settings(BOTH))
    again = {outcome.task: outcome.reused for outcome in evaluator(cohort).evaluate_settings(BOTH)}
    assert again == {"zero_shot_classification": True, "linear_probe": False}
    assert all(row["note"] == "" for row in read_results(cohort.home_path()).to_pylist())


def test_a_cohort_that_cannot_be_read_fails_every_result(workspace):
    outcomes = list(evaluator(workspace).fail(BOTH, "The archive is gone."))
    assert [outcome.note for outcome in outcomes] == ["failed: The archive is gone."] * 4
    assert read_results(workspace.home_path()).num_rows == 4


def test_a_cohort_that_is_away_takes_no_number_that_was_computed(cohort, seer):
    measured = [outcome.values for outcome in evaluator(cohort).evaluate_settings(PROBE)]
    outcomes = list(evaluator(cohort).fail(BOTH, "The disk is not there."))
    assert [outcome.note for outcome in outcomes] == ["failed: The disk is not there."] * 4
    assert [outcome.values for outcome in outcomes] == [[], [], *measured]  # shown with the reason, not as if current
    assert all(
        row["value"] is not None for row in read_results(cohort.home_path(), {"task": "linear_probe"}).to_pylist()
    )


def test_nothing_to_score_is_said_and_remembered(cohort, seer):
    facts = replace(OWN, zero_shot={})
    settings = [("zero_shot_classification", Setting())]
    (outcome, _) = evaluator(cohort, facts).evaluate_settings(settings)
    assert outcome.note.startswith("nothing to score")
    assert not outcome.failed
    assert computed(cohort, settings, facts=facts) == 0


def test_numbers_go_to_mlflow_under_names_it_takes(cohort, seer):
    at = evaluator(cohort)
    list(at.evaluate_settings([("linear_probe", Setting(0.1, repeat=1))]))
    names = {name for call in at.tracker.log_summary.call_args_list for name in call.args[0]}
    assert "cohort/linear_probe/10pct/repeat1/auroc/macro" in names
    assert "cohort/linear_probe/10pct/untrained/repeat1/auroc/Pleural Effusion" in names


def test_every_task_has_the_settings_of_its_kind():
    settings = repeated_settings(tasks_on(dataset("rsna_pneumonia")), [0.01, 1.0], 2)
    names = {each: [setting.name for name, setting in settings if name == each] for each, _ in settings}
    assert names["zero_shot_classification"] == ["zero-shot"]
    assert names["detection"] == ["1 %", "100 %"] * 2
    assert sorted(names["segmentation"]) == sorted(["1 %", "1 %, tuned", "100 %", "100 %, tuned"] * 2)


def test_other_repeats_see_other_patients_and_a_new_dataset_sees_the_same(cohort, seer):
    data = EvaluationDataset(cohort)
    first, again, other = (set(data.fraction(0.1, repeat).subjects) for repeat in (0, 0, 1))
    assert first == again != other
    assert first.isdisjoint(data.images("test").subjects)


def test_labels_follow_the_facts(workspace):
    build(workspace)
    images = EvaluationDataset(workspace, replace(OWN, blank=0.0)).images("train")
    names = ["Edema", "Fracture"]
    assert not np.isnan(EvaluationDataset(workspace, replace(OWN, blank=0.0)).label_values(images, names)).any()
    assert np.isnan(EvaluationDataset(workspace).label_values(images, names)[:, 1]).all()


def test_shards_of_another_version_fail_their_results_with_the_way_to_mend_them(cohort, seer):
    manifest = cohort.folder("shards") / "manifest.json"
    manifest.write_text('{"schema_version": "2", "cohort": "phantom"}')
    outcomes = [*evaluator(cohort).evaluate_settings(PROBE), *evaluator(cohort).fail(IMAGES, "no archive")]
    assert len(outcomes) == 4
    assert all(outcome.failed for outcome in outcomes)
    assert "build the shards again: `dagster job execute -j ingest`" in outcomes[0].note
    assert "no archive" in outcomes[-1].note
