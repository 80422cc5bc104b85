"""Calibration, operating points, counts and cues against literal computations."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import brier_score_loss, confusion_matrix, roc_auc_score

from evaluation.audit.measures.calibration import NO_SCALING, OFFSET, TEMPERATURE, measure_calibration
from evaluation.audit.measures.counts import count_findings
from evaluation.audit.measures.examined import UNKNOWN, Examined, ScoredSplit, band_ages, divide
from evaluation.audit.measures.operating_points import choose_threshold, measure_points
from evaluation.audit.measures.shortcuts import describe_cues
from evaluation.audit.rows import DatasetAudit
from evaluation.audit.settings import AuditSettings
from tests.evaluation.audit.simulated import simulate

SETTINGS = AuditSettings(resamples=60)


@pytest.fixture(scope="module")
def examined():
    found = simulate(900, seed=0, findings=3)
    found.test.labels[:, 2] = 0  # a finding that nobody has
    found.test.labels[::7, 0] = np.nan
    return found


def test_calibration_is_measured_on_test_and_scaled_by_validate_alone(examined):
    rows = {(row.finding, row.scaling): row for row in measure_calibration(examined, SETTINGS)}
    known = ~np.isnan(examined.test.labels[:, 0])
    labels, scores = examined.test.labels[known, 0], examined.test.scores[known, 0]
    before = rows["finding 0", NO_SCALING]
    assert before.brier.value == pytest.approx(brier_score_loss(labels, scores), abs=1e-12)
    assert before.brier.low < before.brier.value < before.brier.high
    assert sum(count for count, _, _ in before.curve) == before.images == known.sum()
    assert rows["finding 0", OFFSET].error.value < before.error.value
    assert rows["finding 2", NO_SCALING].reason == "the test split does not have images both with and without it"
    other = replace(examined, test=replace(examined.test, labels=1 - examined.test.labels))
    again = {(row.finding, row.scaling): row for row in measure_calibration(other, SETTINGS)}
    assert again["finding 0", TEMPERATURE].slope == rows["finding 0", TEMPERATURE].slope


def test_an_operating_point_is_the_highest_threshold_that_reaches_its_sensitivity():
    labels = np.array([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, np.nan])
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 0.45, 0.01])
    assert choose_threshold(labels, scores, "0.9") == 0.2
    assert choose_threshold(labels, scores, "0.95") == 0.1
    assert choose_threshold(labels, scores, "youden") == 0.5
    assert np.isnan(choose_threshold(labels[:10], scores[:10], "0.9"))


def test_rates_at_an_operating_point_are_those_of_the_confusion_matrix(examined):
    rows = {(row.finding, row.point): row for row in measure_points(examined, SETTINGS)}
    row = rows["finding 1", "0.9"]
    labels, scores = examined.test.labels[:, 1], examined.test.scores[:, 1]
    tn, fp, fn, tp = confusion_matrix(labels, scores >= row.threshold).ravel()
    wanted = {
        "sensitivity": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "PPV": tp / (tp + fp),
        "NPV": tn / (tn + fn),
    }
    for name, value in wanted.items():
        found = row.rates[name]
        assert found.value == pytest.approx(value)
        assert found.low < value < found.high
    reached = examined.validate.scores[examined.validate.labels[:, 1] == 1, 1] >= row.threshold
    assert 0.9 <= reached.mean() < 0.9 + 1 / 30
    assert not rows["finding 2", "youden"].rates


def test_a_rate_of_one_has_the_exact_interval_of_its_patients():
    """Three of three images of two patients are no proof of a sensitivity of 1."""
    scores = np.array([[0.9], [0.8], [0.8], [0.3], [0.2], [0.6], [0.1]])
    labels = np.array([[1.0], [1.0], [1.0], [0.0], [0.0], [0.0], [0.0]])
    split = ScoredSplit(scores, labels, np.array(["a", "a", "b", "c", "d", "e", "f"]))
    (row,) = [row for row in measure_points(Examined(["it"], split, split), SETTINGS) if row.point == "youden"]
    patients = {"sensitivity": 2, "specificity": 4, "PPV": 2, "NPV": 4}
    for name, count in patients.items():
        exact = binomtest(count, count).proportion_ci(0.95, "exact")
        assert row.rates[name].value == 1
        assert (row.rates[name].low, row.rates[name].high) == pytest.approx((exact.low, 1))
    split = ScoredSplit(1 - scores, labels, split.subjects)
    (row,) = [row for row in measure_points(Examined(["it"], _reverse(split), split), SETTINGS) if row.point == "0.9"]
    assert (row.rates["sensitivity"].low, row.rates["sensitivity"].high) == pytest.approx(
        tuple(binomtest(0, 2).proportion_ci(0.95, "exact"))
    )


def _reverse(split):
    return ScoredSplit(1 - split.scores, split.labels, split.subjects)


def test_counts_say_how_many_have_a_finding_in_each_group(examined):
    rows = list(count_findings("test", examined.findings, examined.test.labels, examined.groups))
    (row,) = [row for row in rows if (row.fact, row.group, row.finding) == ("sex", "F", "finding 0")]
    women = examined.test.labels[examined.groups["sex"] == "F", 0]
    assert (row.images, row.known, row.positives) == (len(women), (~np.isnan(women)).sum(), (women == 1).sum())
    assert row.prevalence == pytest.approx(np.nanmean(women))
    whole = next(row for row in rows if not row.fact and row.finding == "finding 0")
    assert whole.images == sum(row.images for row in rows if (row.fact, row.finding) == ("sex", "finding 0"))


def test_the_auroc_within_strata_leaves_out_what_a_cue_tells():
    found = simulate(3000, seed=1)
    labels = found.test.labels
    cue = np.where(np.random.default_rng(0).random(len(labels)) < 0.9, labels[:, 0], 1 - labels[:, 0])
    found.test.scores[:, 0] = 0.1 + 0.8 * cue + 0.1 * np.random.default_rng(1).random(len(labels))  # the cue alone
    rows = describe_cues(replace(found, cues={"tube": cue}), labels, {"tube": cue})
    row = next(row for row in rows if row.finding == "finding 0")
    assert row.across == pytest.approx(roc_auc_score(labels[:, 0], found.test.scores[:, 0]))
    assert row.across > 0.85
    assert row.within == pytest.approx(0.5, abs=0.05)
    assert row.train[0] == pytest.approx(0.9, abs=0.04)
    assert row.train[1] == pytest.approx(0.1, abs=0.04)


def test_ages_have_bands_and_impossible_ones_are_unknown():
    bands = band_ages(np.array([0, 39.9, 40, 79, 80, 101, -1, 200, np.nan]), [40, 60, 80])
    assert bands.tolist() == [
        "0 to 39", "0 to 39", "40 to 59", "60 to 79", "80 or more", "80 or more", UNKNOWN, UNKNOWN, UNKNOWN,
    ]  # fmt: skip


def test_two_groups_are_compared_once_and_more_with_all_others():
    two, three = np.array(["A", "B", "", "A"]), np.array(["A", "B", "C", ""])
    assert [(name, other) for name, other, *_ in divide(two)] == [("A", "B")]
    assert [(name, other) for name, other, *_ in divide(three)] == [(name, "the others") for name in "ABC"]
    assert not list(divide(np.array(["A", "A", ""])))
    _, _, inside, outside = next(divide(three))
    assert inside.tolist() == [True, False, False, False]
    assert outside.tolist() == [False, True, True, False]


def test_rows_survive_json(examined):
    audit = DatasetAudit("phantom", "v", True, {"test": 3}, {"test": 2}, ("2020-01-01", "2020-01-02"))
    audit.calibration.extend(measure_calibration(examined, SETTINGS))
    audit.operating_points.extend(measure_points(examined, SETTINGS))
    audit.counts.extend(count_findings("test", examined.findings, examined.test.labels, examined.groups))
    audit.cues.extend(describe_cues(examined, examined.test.labels, examined.cues))
    assert DatasetAudit.from_dict(json.loads(json.dumps(audit.as_dict()))) == audit
