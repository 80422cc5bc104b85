"""Tasks with one score per study: against scikit-learn on means, under a name of their own."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import MagicMock

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import accuracy_score, roc_auc_score

from cohorts.dataset import Dataset
from evaluation.dataset import EvaluationDataset
from evaluation.errors import EvaluationError
from evaluation.evaluator import Evaluator
from evaluation.learning.annotated import LabelledImages
from evaluation.learning.classifier import fit_and_score, tune
from evaluation.metrics.units import IMAGE, STUDY, UNITS
from evaluation.results.store import read_results
from evaluation.tables.measured_rows import make_key, sort_key
from evaluation.tasks import grading, linear_probe
from evaluation.tasks.base import Setting
from evaluation.tasks.fine_tune import FineTuneSettings
from evaluation.tasks.registry import explain_units, repeated_settings, task, task_names
from evaluation.tasks.zero_shot_classification import best_thresholds
from tests.evaluation.learning.test_classifier import exclusive, split
from tests.evaluation.seer import LABELS, RUN, predictions_of
from tests.evaluation.small_method import small_method

SCORING_STUDIES = {"zero_shot_classification", "linear_probe", "fine_tune", "grading"}
QUICK = FineTuneSettings(learning_rate=0.02, batch_size=16, epochs=2, crop_scale=0.9)


@pytest.fixture
def paired(cohort, seer, monkeypatch):
    """The tiny cohort with two images in each study, those of a patient."""
    read = EvaluationDataset.images
    monkeypatch.setattr(
        EvaluationDataset, "images", lambda self, split: replace(found := read(self, split), study_ids=found.subjects)
    )
    return cohort


def macro(values, metric="auroc"):
    return next(value for value in values if (value.metric, value.class_name) == (metric, "macro"))


def pairs(array):
    """(studies, 2, ...) of what lies image by image; the tiny cohort has the images of a patient side by side."""
    return array.reshape(len(array) // 2, 2, *array.shape[1:])


def test_zero_shot_scores_are_averaged_on_validate_and_on_test(paired):
    predictions, dataset = predictions_of(paired), predictions_of(paired).dataset
    values = task("zero_shot_classification").score(predictions, Setting(unit=STUDY), None)
    scores, labels = {}, {}
    for name in ("validate", "test"):
        scores[name] = pairs(predictions.zero_shot(name).scores.astype(float)).mean(axis=1)
        labels[name] = pairs(dataset.label_values(dataset.images(name), list(LABELS))).max(axis=1)
    thresholds = best_thresholds(scores["validate"], labels["validate"])
    for column, label in enumerate(LABELS):
        found = {value.metric: value for value in values if value.class_name == label}
        truth, said = labels["test"][:, column], scores["test"][:, column]
        assert found["auroc"].value == pytest.approx(roc_auc_score(truth, said))
        assert found["accuracy"].value == pytest.approx(accuracy_score(truth, said >= thresholds[column]))
        assert (found["auroc"].n, found["auroc"].positives) == (len(truth), int(truth.sum()))
    by_image = task("zero_shot_classification").score(predictions, Setting(), None)
    assert by_image[0].n == 2 * values[0].n
    assert [value.value for value in by_image] != [value.value for value in values]


def test_a_probe_averages_probabilities(paired):
    predictions, dataset = predictions_of(paired), predictions_of(paired).dataset
    values = task("linear_probe").score(predictions, Setting(0.1, unit=STUDY), None)
    names, *parts = dataset.labelled_splits(0.1)
    labelled = [
        linear_probe.Labelled(predictions.features(part), dataset.label_values(part, names), part.subjects)
        for part in parts
    ]
    scores = pairs(expit(linear_probe.predict(labelled[0], labelled[1], labelled[2].features))).mean(axis=1)
    truth = pairs(labelled[2].labels).max(axis=1)
    assert [value.value for value in values[:3]] == pytest.approx(
        [roc_auc_score(truth[:, column], scores[:, column]) for column in range(3)]
    )
    assert values[0].n == len(parts[2]) // 2


def with_pairs(part: LabelledImages) -> LabelledImages:
    """Four images per patient, of which the first and third are of one study and the others of another."""
    rows = np.arange(len(part))
    subjects, studies = (rows // 4).astype(str), (rows % 2).astype(str)
    return LabelledImages(replace(part.images, subjects=subjects, study_ids=studies), part.labels)


def paired_rows(array):
    """(studies, 2, columns) of the images of `with_pairs`."""
    return array.reshape(len(array) // 4, 2, 2, -1).swapaxes(1, 2).reshape(len(array) // 2, 2, -1)


@pytest.mark.parametrize("are_exclusive", [False, True])
def test_a_tuned_classifier_averages_probabilities(are_exclusive):
    parts = [with_pairs(exclusive(part) if are_exclusive else part) for part in map(split, (60, 28, 60), range(3))]
    parts = [replace(part, images=replace(part.images, subjects=np.char.add(f"{place}-", part.images.subjects)))
             for place, part in enumerate(parts)]  # fmt: skip
    classes = ["a", "b", "c"][: parts[0].labels.shape[1]]
    values = fit_and_score(small_method(), *parts, classes, QUICK, 0, are_exclusive, STUDY, resamples=20)
    classifier = tune(small_method(), *parts[:2], QUICK, 0, are_exclusive)
    scores = paired_rows(classifier.probabilities(parts[2].pixels, are_exclusive)).mean(axis=1)
    present = paired_rows(parts[2].labels).max(axis=1)
    known = present.sum(axis=1) == 1 if are_exclusive else np.ones(len(present), bool)
    for column, value in enumerate(values[: len(classes)]):
        truth = present[known, column]
        assert value.n == known.sum()
        assert value.value == pytest.approx(roc_auc_score(truth, scores[known, column]))
    if are_exclusive:
        assert 0 < known.sum() < len(known)  # some studies have images of two classes
        right = scores[known].argmax(axis=1) == present[known].argmax(axis=1)
        assert values[-1].value == pytest.approx(right.mean())


def test_grades_are_those_of_studies_whose_images_agree():
    rng = np.random.default_rng(0)
    grades = [rng.integers(0, 3, 60) for _ in range(3)]
    grades[2][1::2] = np.where(np.arange(30) % 3 == 0, grades[2][::2] - 1, grades[2][::2]) % 3
    parts = [LabelledImages(split(60, seed).images, np.eye(3)[grades[seed]]) for seed in range(3)]
    parts = [replace(part, images=replace(part.images, study_ids=part.images.subjects)) for part in parts]
    values = grading.fit_and_score(small_method(), *parts, ["0", "1", "2"], QUICK, 0, STUDY, resamples=10)
    assert {value.n for value in values if value.class_name != "macro"} == {20}
    by_image = grading.fit_and_score(small_method(), *parts, ["0", "1", "2"], QUICK, 0, IMAGE, resamples=10)
    assert {value.n for value in by_image if value.class_name != "macro"} == {60}


def test_settings_tell_the_units_apart():
    names = [Setting(unit=STUDY).name, Setting(0.1, unit=STUDY).name, Setting(0.1, True, unit=STUDY).name]
    assert names == ["zero-shot, by study", "10 %, by study", "10 %, tuned, by study"]
    row = {"method": "mgca", "cohort": "c", "task": "linear_probe", "metric": "auroc", "class": "macro"}
    keys = [make_key({**row, "setting": Setting(0.1, unit=unit).name}) for unit in UNITS]
    assert keys[0] != keys[1]
    assert sort_key(keys[0]) == sort_key(keys[1])


def test_results_of_both_units_stand_side_by_side(paired):
    def run(unit):
        at = Evaluator(EvaluationDataset(paired, Dataset("phantom")), RUN, {}, lambda line: None, MagicMock())
        return list(at.evaluate(["zero_shot_classification"], untrained=False, unit=unit))

    for unit in (*UNITS, *UNITS):
        outcomes = run(unit)
    assert all(outcome.reused for outcome in outcomes)
    (outcome,) = outcomes
    assert outcome.leading == "zero_shot_classification/zero-shot by study/auroc/macro"
    table = read_results(paired.home_path())
    assert set(table["setting"].to_pylist()) == {"zero-shot", "zero-shot, by study"}
    counts = {
        row["setting"]: row["n"] for row in table.to_pylist() if (row["metric"], row["class"]) == ("auroc", "Edema")
    }
    assert counts["zero-shot"] == 2 * counts["zero-shot, by study"]


@pytest.mark.parametrize("name", task_names())
def test_a_task_scores_studies_or_says_why_it_does_not(name):
    (_, setting), *_ = repeated_settings([name], [0.1], 1, STUDY)
    assert (setting.unit == STUDY) == (name in SCORING_STUDIES) == (not task(name).only_images)
    why = explain_units(repeated_settings([name, "fine_tune"], [0.1], 1, STUDY))
    assert bool(why) == (name not in SCORING_STUDIES)
    assert all(sentence.startswith(f"{name} has one score per image: ") and sentence.endswith(".") for sentence in why)
    assert not explain_units(repeated_settings([name, "fine_tune"], [0.1], 1, IMAGE))


def test_another_unit_is_refused():
    with pytest.raises(EvaluationError, match="unit of the evaluation is `patient`, but must be one of image, study"):
        repeated_settings(["linear_probe"], [0.1], 1, "patient")
