"""Results are computed once per checkpoint, data and protocol; one that fails says so and stops no other."""

from __future__ import annotations

import contextlib
import json
import re
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
from evaluation.predictions import Predictions
from evaluation.results.schema import COMPUTED_ON
from evaluation.results.store import read_results
from evaluation.tasks.base import NEVER, QUERY_LABELS, REGION_TABLE, TRIPLET_TABLE, Setting
from evaluation.tasks.registry import repeated_settings, task, task_names, tasks_on
from ingestion.tables.subsets import SubsetsSettings, write_subsets
from models.compute import AUTOMATIC, Compute
from shards.writer import write_manifest
from store import batches
from store.errors import DamageError
from store.seals import seal, write_sealed_table
from tests.evaluation.damage import DAMAGES, empty, flip, flip_and_keep_times, truncate
from tests.evaluation.seer import LABELS, RUN, SIZE, WORDS, build, predictions_of, write_run
from tracking.tracker import RunIdentity, open_run

OWN = Dataset("phantom")
PROBE = [("linear_probe", Setting(0.1))]
BOTH = [("zero_shot_classification", Setting()), *PROBE]
IMAGES = [("image_image_retrieval", Setting())]


def evaluator(workspace, facts=OWN, run=RUN, warn=None, compute=AUTOMATIC, **options):
    data = EvaluationDataset(workspace, facts)
    return Evaluator(data, run, options, lambda line: None, MagicMock(), "cohort/", warn, compute)


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


def test_the_precision_decides_a_result_and_is_kept_with_it_and_with_the_run(cohort, seer):
    at = evaluator(cohort, compute=Compute("cpu"))
    assert not any(outcome.reused for outcome in at.evaluate_settings(PROBE))
    assert [call.args[0] for call in at.tracker.tag.call_args_list] == [
        {"radalign.evaluation.device": "cpu", "radalign.evaluation.precision": "fp32"}
    ]
    assert computed(cohort, compute=Compute("auto", "fp32")) == 0  # what `auto` is here
    assert computed(cohort, compute=Compute("cpu", "bf16")) == 2
    files = [path for path in (cohort.home_path() / "results").glob("*.parquet")]
    records = [json.loads(pq.read_schema(path).metadata[COMPUTED_ON]) for path in files]
    assert records == [{"device": "cpu", "precision": "bf16"}] * 2
    assert seer.precision == "bf16"


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
    list(at.evaluate_settings([("linear_probe", Setting(0.1))]))
    leading = [call.args[1] for call in at.tracker.log_summary.call_args_list]
    assert leading == ["", "", "cohort/linear_probe/10pct/auroc/macro", ""]


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


def test_labels_of_any_kind_are_evaluated_and_tracked_apart(workspace, seer, monkeypatch):
    labels = ("..", "a/b?\n(+%)", "x" * 300)
    monkeypatch.setattr("tests.evaluation.seer.LABELS", labels)
    build(workspace)
    at = evaluator(workspace)
    at.tracker = open_run(workspace.home_path(), RunIdentity("f", "run", {}, {}, "phantom", "shards", "v"))
    (trained, _) = at.evaluate_settings([("linear_probe", Setting(0.1))])
    scores = {value.class_name: value.value for value in trained.values if value.metric == "auroc"}
    assert set(scores) == {*labels, "macro"}
    kept = {f"cohort/linear_probe/10pct/auroc/{label}": scores[label] for label in scores}
    assert len(kept) == 4
    assert kept.items() <= at.tracker.numbers().items()


def test_another_seed_of_the_subsets_measures_the_label_fractions_again(cohort, seer):
    first = [outcome.values for outcome in evaluator(cohort).evaluate_settings(BOTH)]
    write_subsets(cohort, SubsetsSettings(seed=5))
    again = list(evaluator(cohort).evaluate_settings(BOTH))
    assert [outcome.reused for outcome in again] == [True, True, False, False]
    assert [outcome.values for outcome in again[:2]] == first[:2]
    expected = seer_probe(cohort)
    assert again[2].values == expected
    assert expected != first[2]


def seer_probe(workspace):
    """The probe's numbers, computed without any store."""
    return task("linear_probe").score(predictions_of(workspace), Setting(0.1), None)


def test_other_triplets_measure_phrase_grounding_again_and_nothing_else(cohort, seer):
    settings = [("phrase_grounding", Setting()), ("zero_shot_grounding", Setting())]
    assert computed(cohort, settings) == 4
    folder = cohort.folder("triplets")
    table = batches.read_batches(folder)
    write_sealed_table(table.slice(0, 60), batches.output_path(folder, "1" * 20))
    batches.commit(folder, batches.Plan((batches.Batch("all", "1" * 20),)))
    again = {outcome.task: outcome.reused for outcome in evaluator(cohort).evaluate_settings(settings)}
    assert again == {"phrase_grounding": False, "zero_shot_grounding": True}


class Recorder(EvaluationDataset):
    """Notes which tables beside the shards are read."""

    def __init__(self, workspace, facts):
        super().__init__(workspace, facts)
        self.read = set()

    @property
    def queries(self):
        self.read.add(QUERY_LABELS)
        return EvaluationDataset(self.workspace, self.facts).queries

    def masks(self, split, names):
        self.read.add(REGION_TABLE)
        return super().masks(split, names)

    def boxes(self, images):
        self.read.add(REGION_TABLE)
        return super().boxes(images)

    def triplets(self):
        self.read.add(TRIPLET_TABLE)
        return super().triplets()

    def fraction(self, share, repeat=0):
        self.read.add("subsets")
        return super().fraction(share, repeat)


@pytest.mark.parametrize("name", task_names())
def test_a_task_names_what_it_reads(cohort, seer, name):
    """What it reads without naming it could change without making its results stale."""
    data = Recorder(cohort, replace(OWN, regions=LABELS, classes=LABELS))
    chosen = task(name)
    setting = Setting(None if chosen.learning == NEVER else 1.0)
    with contextlib.suppress(EvaluationError, NotImplementedError, ValueError, TypeError, RuntimeError):
        chosen.score(Predictions(data, RUN, "trained", print), setting, chosen.read_settings({}))
    assert data.read - {"subsets"} == set(chosen.reads)
    assert ("subsets" in data.read) == (chosen.learning != NEVER)


@pytest.mark.parametrize("name", ["weights.safetensors", "untrained.safetensors"])
def test_altered_weights_stop_everything_with_one_sentence_and_no_number_is_shown(cohort, seer, name):
    list(evaluator(cohort).evaluate_settings(BOTH))
    before = read_results(cohort.home_path())
    flip(cohort.home_path() / RUN.output / name)
    with pytest.raises(DamageError, match="differs from what the run recorded of it"):
        next(evaluator(cohort).evaluate_settings(BOTH))
    assert read_results(cohort.home_path()).equals(before)  # they are of the weights as they were


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_result_is_measured_again_and_the_home_is_as_before(cohort, seer, damage):
    first = [outcome.values for outcome in evaluator(cohort).evaluate_settings(BOTH)]
    folder = cohort.home_path() / "results"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    damage(next(iter(sorted(folder.glob("medklip-phantom-linear_probe*.parquet")))))
    warnings = []
    again = list(evaluator(cohort, warn=warnings.append).evaluate_settings(BOTH))
    assert [outcome.reused for outcome in again] == [True, True, False, True]
    assert [outcome.values for outcome in again] == first
    assert len(warnings) == 1
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".damaged"}
    assert after == before


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_damaged_predictions_are_made_again_and_the_home_is_as_before(cohort, seer, damage):
    home = cohort.home_path()
    first = [outcome.values for outcome in evaluator(cohort).evaluate_settings(BOTH)]
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    damage(next(iter(sorted(home.rglob("predictions/trained-features-*.npz")))))
    warnings = []
    again = list(evaluator(cohort, warn=warnings.append).evaluate_settings(BOTH))
    assert [outcome.reused for outcome in again] == [True, True, False, True]
    assert [outcome.values for outcome in again] == first
    assert len(warnings) == 1
    after = {path: path.read_bytes() for path in home.rglob("*") if path.is_file() and path.suffix != ".damaged"}
    assert after == before


TABLES = {
    "shards": ("shards/a.parquet", BOTH, [True] * 4),
    "manifest": ("shards/manifest.json", BOTH, [True] * 4),
    "studies": ("studies/studies.parquet", BOTH, [True, True, False, False]),
    "subsets": ("subsets/subsets.parquet", BOTH, [False, False, True, True]),
    "triplets": (f"triplets/{'0' * 20}.parquet", [("phrase_grounding", Setting())], [True, True]),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("damage", [flip, flip_and_keep_times, truncate, empty])
def test_no_number_comes_of_a_damaged_table(cohort, seer, name, damage):
    path, settings, failed = TABLES[name]
    damage(cohort.folder(path))
    outcomes = list(evaluator(cohort).evaluate_settings(settings))
    assert [outcome.failed for outcome in outcomes] == failed
    assert not any(outcome.values for outcome in outcomes if outcome.failed)
    assert all(re.search("-j ingest|materialize", outcome.note) for outcome in outcomes if outcome.failed)


def test_damaged_regions_are_made_again(cohort, seer):
    settings = [("zero_shot_grounding", Setting())]
    first = [outcome.values for outcome in evaluator(cohort).evaluate_settings(settings)]
    path = cohort.folder("regions") / "regions.parquet"
    before = path.read_bytes()
    for damage in DAMAGES.values():
        damage(path)
        assert [outcome.values for outcome in evaluator(cohort).evaluate_settings(settings)] == first
        assert path.read_bytes() == before


def test_numbers_of_a_dataset_that_broke_since_are_kept_and_shown_with_the_reason(cohort, seer):
    first = [outcome.values for outcome in evaluator(cohort).evaluate_settings(PROBE)]
    shard = cohort.folder("shards") / "a.parquet"
    content = shard.read_bytes()
    flip(shard)
    broken = list(evaluator(cohort).evaluate_settings(PROBE))
    assert [outcome.values for outcome in broken] == first
    assert all(outcome.failed and "a.parquet" in outcome.note for outcome in broken)
    shard.write_bytes(content)
    seal(shard)
    assert computed(cohort) == 0


def test_mlflow_that_takes_nothing_loses_no_number(cohort, seer):
    warnings = []
    one = evaluator(cohort, warn=warnings.append)
    one.tracker.log_summary.side_effect = OSError("database is locked")
    outcomes = list(one.evaluate_settings(PROBE))
    assert not any(outcome.failed for outcome in outcomes)
    assert len(warnings) == 2
    assert all("MLflow did not take the numbers (OSError)" in line for line in warnings)
    assert computed(cohort) == 0
