"""Every task on a tiny cohort, whose findings are bright quarters, with a method that sees quarters."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from cohorts.registry import cohort_names, dataset
from evaluation.dataset import EvaluationDataset
from evaluation.errors import EvaluationError, NotAvailableError
from evaluation.tasks.registry import own_tasks, task, task_names, tasks_on
from store.code import ROOT
from store.settings import MISSING, described_settings
from tests.evaluation.seer import LABELS, WORDS, Mute, Seer, predictions_of

OPTIONS = {"image_image_retrieval": {"queries": 2}, "phrase_grounding": {"smoothing": 0.0}}


def score(name, predictions):
    """Of its first setting."""
    chosen = task(name)
    return chosen.score(predictions, next(chosen.repeated_settings([0.1], 1)), chosen.read_settings(OPTIONS))


def macro(values, metric):
    return next(value for value in values if (value.metric, value.class_name) == (metric, "macro"))


def test_every_task_scores_what_the_method_sees(cohort, seer):
    values = {name: score(name, predictions_of(cohort)) for name in own_tasks()}
    assert macro(values["zero_shot_classification"], "auroc").value == 1
    assert macro(values["zero_shot_classification"], "f1_by_validate_mcc").value > 0.9
    assert (
        macro(values["zero_shot_classification"], "f1_by_test_f1").value < 1
    )  # the image at the threshold is negative
    assert macro(values["text_image_retrieval"], "precision_at_5").value == 1
    assert macro(values["image_image_retrieval"], "precision_at_5").value > 0.9
    assert macro(values["image_report_retrieval"], "recall_at_1").value == 1
    assert macro(values["phrase_grounding"], "pointing_game").value == 1
    assert macro(values["zero_shot_grounding"], "pointing_game_chance").value < 0.3
    assert macro(values["linear_probe"], "auroc").value > 0.9
    assert [value.class_name for value in values["linear_probe"]] == [*LABELS, "macro"]
    assert all(
        task(name).leading in {value.metric for value in values[name]} for name in task_names() if name in values
    )


def test_no_prediction_is_computed_twice(cohort, seer):
    for name in own_tasks():
        score(name, predictions_of(cohort))
    first = seer.shown
    for name in own_tasks():
        score(name, predictions_of(cohort))
    assert seer.shown == first
    score("linear_probe", predictions_of(cohort, "untrained"))
    assert seer.shown > first


def test_features_are_computed_of_the_chosen_tenth_of_the_images_only(cohort, seer):
    score("linear_probe", predictions_of(cohort))
    held = [len(EvaluationDataset(cohort).images(split)) for split in ("validate", "test", "train")]
    assert sum(held[:2]) < seer.shown < sum(held[:2]) + held[2] / 4


def test_chosen_images_keep_their_rows_labels_and_pixels_together(cohort, seer):
    images = EvaluationDataset(cohort).images("test")
    chosen = images.select(np.array([5, 0, 3]))
    assert chosen.image_ids.tolist() == images.image_ids[[5, 0, 3]].tolist()
    assert chosen.labels.to_pylist() == [images.labels.to_pylist()[place] for place in (5, 0, 3)]
    every = predictions_of(cohort).features(images)
    np.testing.assert_array_equal(predictions_of(cohort).features(chosen), every[[5, 0, 3]])


@pytest.mark.parametrize("name", own_tasks())
def test_what_a_method_cannot_do_is_not_available(cohort, monkeypatch, name):
    monkeypatch.setattr("models.saved.load_method", lambda output, weights: Mute())
    with pytest.raises(NotAvailableError, match="Mute has no"):
        score(name, predictions_of(cohort))


def test_missing_fractions_are_said(cohort, seer):
    (cohort.folder("subsets") / "subsets.parquet").unlink()
    with pytest.raises(EvaluationError, match="materialize the asset `subsets`"):
        score("linear_probe", predictions_of(cohort))


def test_queries_are_what_the_method_understands(cohort, seer, monkeypatch):
    seen = []
    monkeypatch.setattr(Seer, "zero_shot", lambda self, images, queries: seen.append(queries) or 1 / 0)
    for kind, queries in (("label", list(LABELS)), ("entity", list(WORDS))):
        monkeypatch.setattr(Seer, "query_kind", kind)
        with pytest.raises(ZeroDivisionError):
            predictions_of(cohort).zero_shot("test")
        assert seen[-1] == queries


TASKS_ON = {  # what the papers do on each dataset
    "chexpert": {
        *("zero_shot_classification", "linear_probe", "fine_tune", "text_image_retrieval", "image_image_retrieval"),
    },
    "rsna_pneumonia": {
        *("zero_shot_classification", "linear_probe", "fine_tune", "zero_shot_grounding", "detection", "segmentation"),
    },
    "siim_pneumothorax": {
        *("zero_shot_classification", "linear_probe", "fine_tune", "zero_shot_grounding", "segmentation"),
    },
    "chestxray14": {"zero_shot_classification", "linear_probe", "fine_tune"},
    "covidx": {"zero_shot_classification", "linear_probe", "fine_tune"},
    "covid_rural": {"zero_shot_grounding", "segmentation"},
    "mura": {"linear_probe", "fine_tune"},
    "edema_severity": {"grading"},
    "object_cxr": {"detection"},
    "vindr_cxr": {
        *("zero_shot_classification", "linear_probe", "fine_tune", "zero_shot_grounding", "detection"),
    },
    "archive": {  # no paper's: all that a description may have annotations for
        *("zero_shot_classification", "linear_probe", "fine_tune", "zero_shot_grounding", "detection"),
        *("phrase_grounding", "text_image_retrieval", "image_image_retrieval", "image_report_retrieval"),
    },
    "ms_cxr": {"zero_shot_grounding", "phrase_grounding"},
    "chexpert_plus": {
        *("zero_shot_classification", "text_image_retrieval", "image_image_retrieval", "image_report_retrieval"),
    },
    "tbx11k": {
        *("zero_shot_classification", "linear_probe", "fine_tune", "zero_shot_grounding", "detection"),
    },
    "padchest": {"zero_shot_classification", "linear_probe", "fine_tune"},
    "covid_chestxray": {"zero_shot_classification", "image_report_retrieval"},
    "mimic_cxr": {
        *("zero_shot_classification", "text_image_retrieval", "image_image_retrieval", "image_report_retrieval"),
    },
    "open_i": {
        *("zero_shot_classification", "text_image_retrieval", "image_image_retrieval", "image_report_retrieval"),
    },
}


@pytest.mark.parametrize("name", [name for name in cohort_names() if name != "phantom"])
def test_a_dataset_has_the_tasks_that_the_papers_do_on_it(name):
    assert set(tasks_on(dataset(name))) == TASKS_ON[name]


def test_the_pretraining_cohort_has_every_task_that_needs_no_annotation_of_its_own():
    assert set(own_tasks()) == {
        *("zero_shot_classification", "zero_shot_grounding", "phrase_grounding", "linear_probe"),
        *("text_image_retrieval", "image_image_retrieval", "image_report_retrieval"),
    }


def test_names_settings_and_descriptions_need_no_torch():
    code = (
        "import sys; from evaluation.tasks.registry import task, task_names\n"
        "print([(task(name).description(), task(name).settings) for name in task_names()])\n"
        "print(sorted({'torch', 'sklearn', 'scipy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", task_names())
def test_a_task_says_what_it_is(name):
    chosen = task(name)
    assert chosen.description().endswith(".")
    assert chosen.selection.endswith(".")
    assert all(value is not MISSING and text for _, _, value, text in described_settings(chosen.settings or Nothing))


@dataclass
class Nothing:
    """A task without settings."""


def test_a_setting_that_a_task_does_not_have_is_named():
    with pytest.raises(EvaluationError, match="has no setting `query`; it has queries, candidates"):
        task("image_image_retrieval").read_settings({"image_image_retrieval": {"query": 1}})
    with pytest.raises(EvaluationError, match="linear_probe has no settings, but strength"):
        task("linear_probe").read_settings({"linear_probe": {"strength": 1}})
    assert task("grading").read_settings({"fine_tune": {"epochs": 7}}).epochs == 7


def test_an_unknown_task_is_named():
    with pytest.raises(EvaluationError, match="There is no task probe; tasks are zero_shot_classification"):
        task("probe")
