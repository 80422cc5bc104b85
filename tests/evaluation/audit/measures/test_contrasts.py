"""Tests by patient: against DeLong's variance, resampled patients, scikit-learn, and their own false alarms."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from evaluation.audit.measures.contrasts import area, average, compare, compare_with, mean, mean_difference, rate
from evaluation.metrics.classification import bootstrap
from evaluation.metrics.statistics import delong
from tests.evaluation.audit.simulated import simulate


@pytest.fixture(scope="module")
def scored():
    """Scores and labels of one finding, patients, and a mask of women."""
    examined = simulate(2400, seed=1, visits=2.0)
    test = examined.test
    return test.scores[:, 0].round(2), test.labels[:, 0], test.patients, examined.groups["sex"] == "F"


def test_an_area_is_that_of_scikit_learn_and_its_variance_that_of_delong(scored):
    scores, labels, patients, _ = scored
    found = area(scores, labels == 1, labels == 0)
    assert found.value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    (areas, covariance) = delong(labels, scores[:, None], patients.astype(str))
    interval = compare_with(found, 0.5, patients)
    assert found.value == pytest.approx(areas[0], abs=1e-12)
    width = 1.96 * covariance[0, 0] ** 0.5
    assert interval.high - interval.low == pytest.approx(2 * width, rel=0.03)  # t in place of the normal distribution


def test_the_interval_of_a_gap_is_that_of_resampled_patients(scored):
    scores, labels, patients, women = scored

    def gap(scores, labels, women):
        return roc_auc_score(labels[women], scores[women]) - roc_auc_score(labels[~women], scores[~women])

    first, second = (area(scores, mask & (labels == 1), mask & (labels == 0)) for mask in (women, ~women))
    found = compare(first, second, patients)
    low, high = bootstrap(gap, [scores, labels, women], patients.astype(str), n=250)
    assert found.difference == pytest.approx(gap(scores, labels, women), abs=1e-12)
    assert (found.low, found.high) == (pytest.approx(low, abs=0.015), pytest.approx(high, abs=0.015))


def test_the_interval_of_a_mean_over_findings_is_that_of_resampled_patients():
    test = simulate(1600, seed=2, visits=2.0).test

    def mean_area(scores, labels):
        return float(np.mean([roc_auc_score(labels[:, column], scores[:, column]) for column in range(4)]))

    pairs = zip(test.scores.T, test.labels.T, strict=True)
    found = average([area(scores, labels == 1, labels == 0) for scores, labels in pairs])
    interval = compare_with(found, 0.5, test.patients)
    low, high = bootstrap(mean_area, [test.scores, test.labels], test.patients.astype(str), n=150)
    assert found.value == pytest.approx(mean_area(test.scores, test.labels), abs=1e-12)
    assert interval.low + 0.5 == pytest.approx(low, abs=0.01)
    assert interval.high + 0.5 == pytest.approx(high, abs=0.01)


def test_images_of_a_patient_in_both_groups_are_not_independent():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(300), 2)
    first = np.arange(600) % 2 == 0
    happened = np.repeat(rng.random(300) < 0.4, 2)  # the same in both images of a patient
    happened[rng.integers(600, size=12)] ^= True
    paired = compare(rate(happened, first), rate(happened, ~first), patients)
    alone = compare(rate(happened, first), rate(happened, ~first), np.arange(600))
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)


def test_a_group_without_a_single_miss_can_be_tested():
    missed = np.concatenate([np.zeros(40, bool), np.arange(200) % 2 == 0])
    inside = np.arange(240) < 40
    found = compare(rate(missed, inside), rate(missed, ~inside), np.arange(240))
    assert found.p < 1e-3
    same = compare(rate(missed & False, inside), rate(missed & False, ~inside), np.arange(240))
    assert same.p == 1


def test_one_patient_is_no_evidence():
    values = np.array([0.1, 0.5, 0.9])
    assert np.isnan(compare_with(mean(values, values > 0), 0.0, np.zeros(3, np.int64)).p)


def test_the_mean_of_independent_images_has_the_p_of_a_t_test():
    from scipy.stats import ttest_1samp

    values = np.random.default_rng(2).normal(0.2, 1, 60)
    found = compare_with(mean(values, np.ones(60, bool)), 0.0, np.arange(60))
    assert found.p == pytest.approx(ttest_1samp(values, 0).pvalue, rel=1e-9)
    difference = mean_difference(values, np.arange(60) < 20, np.arange(60) >= 20)
    assert difference.value == pytest.approx(values[:20].mean() - values[20:].mean(), abs=1e-12)


@pytest.mark.parametrize("kind", ["area", "rate"])
def test_false_alarms_are_as_rare_as_they_should_be(kind):
    alarms = 0
    for seed in range(200):
        examined = simulate(600, seed, findings=2, visits=1.5)
        labels, scores, women = examined.test.labels[:, 0], examined.test.scores[:, 0], examined.groups["sex"] == "F"
        present, absent = labels == 1, labels == 0
        first, second = (
            area(scores, mask & present, mask & absent) if kind == "area" else rate(scores < 0.4, mask & present)
            for mask in (women, ~women)
        )
        alarms += compare(first, second, examined.test.patients).p < 0.05
    assert 3 <= alarms <= 18  # 10 are expected; 18 and 3 lie 2.5 standard deviations away
