import numpy as np
import pytest
from sklearn import metrics as reference

from evaluation.errors import EvaluationError
from evaluation.metrics.classification import patient_weights
from evaluation.metrics.values import MACRO, list_unscored
from evaluation.tasks.zero_shot_classification import best_thresholds, score, score_by_papers

CLASSES = ["effusion", "nodule", "edema"]
METRICS = ["auroc", "f1", "accuracy", "precision", "recall", "specificity", "mcc"]


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (60, 3)).astype(np.float32)
    labels[:5, 0] = np.nan
    labels[:, 2] = 1
    scores = np.round(np.clip(0.4 * np.nan_to_num(labels) + rng.random((60, 3)), 0, 1), 1)
    return scores, labels, rng.integers(0, 20, 60).astype(str)


def by_key(values):
    return {(value.metric, value.class_name): value for value in values}


def test_every_metric_has_a_row_for_every_class_and_the_mean(case):
    scores, labels, subjects = case
    values = score(scores, labels, CLASSES, subjects, np.array([0.5, 0.5, np.nan]), resamples=20)
    assert [(v.metric, v.class_name) for v in values] == [(m, c) for m in METRICS for c in [*CLASSES, MACRO]]
    assert list_unscored(values) == [(metric, "edema") for metric in METRICS]
    assert {value.n for value in values if value.class_name == MACRO} == {2}
    assert by_key(values)["auroc", "effusion"].n == 55


def test_points_equal_scikit_learn_and_intervals_a_literal_loop(case):
    scores, labels, subjects = case
    values = by_key(score(scores, labels, CLASSES, subjects, np.array([0.6, 0.4, 0.5]), seed=2, resamples=50))
    samples = patient_weights(subjects, 50, seed=2).astype(int)
    for column, threshold in ((0, 0.6), (1, 0.4)):
        known = ~np.isnan(labels[:, column])

        def both(rows, column=column, threshold=threshold):
            truth, value = labels[rows, column], scores[rows, column]
            return (
                reference.roc_auc_score(truth, value),
                reference.f1_score(truth, value >= threshold),
                reference.matthews_corrcoef(truth, value >= threshold),
            )

        points = both(np.flatnonzero(known))
        resampled = [both(np.repeat(np.arange(60), row * known)) for row in samples]
        bounds = np.percentile(resampled, [2.5, 97.5], axis=0)
        for index, metric in enumerate(("auroc", "f1", "mcc")):
            value = values[metric, CLASSES[column]]
            assert value.value == pytest.approx(points[index], abs=1e-9)
            assert (value.low, value.high) == pytest.approx(tuple(bounds[:, index]), abs=1e-9)


def test_macro_interval_is_that_of_the_mean_of_paired_resamples(case):
    scores, labels, subjects = case
    values = by_key(score(scores, labels, CLASSES, subjects, np.full(3, 0.5), seed=1, resamples=40))
    means = []
    for row in patient_weights(subjects, 40, seed=1).astype(int):
        areas = []
        for column in (0, 1):
            rows = np.repeat(np.arange(60), row * ~np.isnan(labels[:, column]))
            areas.append(reference.roc_auc_score(labels[rows, column], scores[rows, column]))
        means.append(np.mean(areas))
    macro = values["auroc", MACRO]
    assert (macro.low, macro.high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), abs=1e-9)


def test_thresholds_come_from_the_other_split_only(case):
    scores, labels, _ = case
    thresholds = best_thresholds(scores[:30], labels[:30])
    assert np.isnan(thresholds[2])
    changed = labels.copy()
    changed[30:] = 0
    np.testing.assert_array_equal(best_thresholds(scores[:30], changed[:30]), thresholds)


def test_without_a_threshold_only_auroc_is_scored(case):
    scores, labels, subjects = case
    values = by_key(score(scores, labels, CLASSES, subjects, np.full(3, np.nan), resamples=5))
    assert values["auroc", MACRO].value is not None
    assert values["f1", MACRO].value is None
    assert values["f1", MACRO].n == 0


def test_a_perfect_and_a_constant_model():
    labels = np.tile([[1.0], [0.0]], (10, 1))
    subjects = np.arange(20).astype(str)
    perfect = by_key(score(labels, labels, ["a"], subjects, np.array([1.0]), resamples=50))
    assert {value.value for value in perfect.values()} == {1.0}
    constant = by_key(score(np.full_like(labels, 0.3), labels, ["a"], subjects, np.array([0.3]), resamples=50))
    assert constant["auroc", "a"].value == constant["auroc", "a"].low == 0.5
    assert constant["specificity", "a"].value == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, y: (s[:, :2], y), "do not fit"),
        (lambda s, y: (s, np.where(y == 1, -1, y)), "must be 1, 0 or nan"),
        (lambda s, y: (np.where(s > 0.9, np.nan, s), y), "scores of effusion are not all finite"),
    ],
)
def test_wrong_input_is_said(case, change, message):
    scores, labels = change(*case[:2])
    with pytest.raises(EvaluationError, match=message):
        score(scores, labels, CLASSES, case[2], np.full(3, 0.5), resamples=2)


def test_the_papers_rules_stand_beside_ours(case):
    scores, labels, subjects = case
    validate = best_thresholds(scores[:30], labels[:30], "mcc")
    found = by_key(score_by_papers(scores, labels, CLASSES, subjects, validate, resamples=20))
    for column, name in ((0, "effusion"), (1, "nodule")):
        known = ~np.isnan(labels[:, column])
        truth, value = labels[known, column], scores[known, column]
        precisions, recalls, thresholds = reference.precision_recall_curve(truth, value)
        f1 = np.nan_to_num(2 * precisions * recalls / np.maximum(precisions + recalls, 1e-300))
        searched = value > thresholds[f1.argmax()]  # the image that gave the threshold is negative
        assert found["f1_by_test_f1", name].value == pytest.approx(reference.f1_score(truth, searched), abs=1e-9)
        accuracy = reference.accuracy_score(truth, searched)
        assert found["accuracy_by_test_f1", name].value == pytest.approx(accuracy, abs=1e-9)
        mcc = reference.matthews_corrcoef(truth, value >= validate[column])
        assert found["mcc_by_validate_mcc", name].value == pytest.approx(mcc, abs=1e-9)
        assert not np.array_equal(searched, value >= validate[column])
    assert ("f1_by_test_f1", "edema") in list_unscored(found.values())
    assert not {metric for metric, _ in found} & set(METRICS)
