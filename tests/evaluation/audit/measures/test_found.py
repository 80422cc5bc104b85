"""Whole audits of simulated scores: planted gaps and shortcuts are found, and little else."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.audit.measure import compare_scores
from evaluation.audit.measures.examined import UNKNOWN
from evaluation.audit.measures.multiplicity import adjust, list_found
from evaluation.audit.rows import ALL_FINDINGS, AUROC, GAPS, NEGATIVES
from evaluation.audit.settings import AuditSettings
from evaluation.metrics.statistics import holm
from store.errors import UserError
from tests.evaluation.audit.simulated import simulate

SETTINGS = AuditSettings()


def audit(examined, settings=SETTINGS):
    return adjust(list(compare_scores(examined, settings)))


def found(examined, settings=SETTINGS):
    return list_found(audit(examined, settings), settings.level)


def test_a_planted_gap_of_5_percent_is_found_in_9_of_10_seeds():
    hits = 0
    for seed in range(10):
        gaps = [test for test in found(simulate(16_000, seed, gap=0.05)) if test.kind in GAPS]
        hits += any((test.finding, test.fact) == ("finding 0", "sex") for test in gaps)
    assert hits >= 9


def test_a_planted_shortcut_is_found_in_9_of_10_seeds_and_says_which_way():
    hits = 0
    for seed in range(10):
        cues = [test for test in found(simulate(4000, seed, cue=0.4)) if test.kind == NEGATIVES]
        hits += [(test.finding, test.fact, test.difference > 0) for test in cues] == [("finding 1", "tube", True)]
    assert hits >= 9


def test_without_a_plant_nothing_is_called_in_nearly_all_replays():
    alarms = sum(bool(found(simulate(1200, seed))) for seed in range(30))
    assert alarms <= 3  # one is expected at most


def test_a_gap_of_every_finding_is_found_in_the_mean_by_fewer_images():
    hits = 0
    for seed in range(10):
        gaps = [test for test in found(simulate(4000, seed, everywhere=0.05)) if test.kind == AUROC]
        hits += any((test.finding, test.fact, test.difference < 0) == (ALL_FINDINGS, "sex", True) for test in gaps)
    assert hits >= 9


def test_means_and_everything_else_are_two_families_with_half_of_the_level_each():
    tests = audit(simulate(1200, seed=3))
    for means in (True, False):
        family = [test for test in tests if test.p is not None and (test.finding == ALL_FINDINGS) == means]
        expected = np.minimum(1, 2 * holm([test.p for test in family]))
        assert len(family) > 8
        np.testing.assert_array_equal([test.adjusted for test in family], expected)
    assert all(test.adjusted is None and test.reason for test in tests if test.p is None)


def test_a_group_of_too_few_patients_is_not_measured_and_says_so():
    examined = simulate(1600, seed=4)
    device = examined.groups["device"]
    examined.groups["device"] = np.where(np.arange(len(device)) < 30, "rare", device)
    rare = [test for test in audit(examined) if test.group == "rare"]
    assert len(rare) > 0
    assert {test.p for test in rare if test.kind == AUROC} == {None}
    assert "fewer than 20" in next(test.reason for test in rare if test.kind == AUROC)


def test_images_of_unknown_group_are_in_no_group():
    examined = simulate(1600, seed=5)
    sex = examined.groups["sex"]
    sex[::2] = UNKNOWN
    (row,) = [test for test in audit(examined) if (test.kind, test.fact, test.finding) == (AUROC, "sex", "finding 2")]
    women = (sex == "F") & (examined.test.labels[:, 2] == 1)
    assert (row.group, row.against, row.present) == ("F", "M", int(women.sum()))


@pytest.mark.parametrize("settings", [{"level": 1.5}, {"operating_point": "0.8"}, {"age_bands": [60, 40]}, {"bins": 1}])
def test_settings_that_cannot_be_are_one_sentence(settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        AuditSettings(**settings)
