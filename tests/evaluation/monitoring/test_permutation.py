from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from evaluation.monitoring.permutation import draw_nights, measure_distances

LEVEL = 0.05


def compare(numbers=None, groups=None, patients=None, night=20, resamples=499, seed=0):
    rows = len(next(iter((numbers or groups).values())))
    patients = np.arange(rows) if patients is None else patients
    return measure_distances(numbers or {}, groups or {}, patients, night, LEVEL, resamples, seed)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=3, max_size=40),
    st.lists(st.one_of(st.integers(0, 6), st.none()), min_size=2, max_size=12),
)
def test_the_distance_of_numbers_is_that_of_scipy(reference, night):
    values = np.array([np.nan if value is None else float(value) for value in (*reference, *night)])
    own = values[len(reference) :][~np.isnan(values[len(reference) :])]
    found = compare({"x": values}, night=len(night), resamples=99)
    if found and len(own):
        assert found["x"].value == pytest.approx(ks_2samp(own, values[: len(reference)]).statistic, abs=1e-9)


def test_the_distance_of_groups_is_the_share_that_would_have_to_move():
    codes = np.array([0] * 60 + [1] * 40 + [0] * 2 + [2] * 8)
    assert compare(groups={"device": codes}, night=10)["device"].value == pytest.approx((0.4 + 0.4 + 0.8) / 2)


def test_what_is_the_same_everywhere_is_left_out():
    assert compare({"x": np.ones(100)}, {"site": np.zeros(100, int)}) == {}
    assert compare({"x": np.full(100, np.nan)}) == {}


def test_a_shift_is_warned_of_and_its_limit_lies_below():
    rng = np.random.default_rng(0)
    found = compare({"dark": np.r_[rng.normal(size=200), rng.normal(3, 1, 20)], "same": rng.normal(size=220)})
    assert found["dark"].warned
    assert found["dark"].value >= found["dark"].limit
    assert not found["same"].warned
    assert found["same"].value < found["same"].limit


def test_a_night_of_one_image_that_cannot_be_warned_of_stays_below_the_limit_as_it_is_stored():
    found = compare(groups={"site": np.r_[np.zeros(10), np.ones(15), 0].astype(int)}, night=1)["site"]
    assert found.value == pytest.approx(0.6)
    assert not found.warned
    assert np.float32(found.value) < np.float32(found.limit)


def test_one_image_of_a_new_device_is_no_drift_and_a_night_of_them_is():
    single = np.zeros(220, int)
    single[-1] = 1
    assert not compare(groups={"device": single})["device"].warned
    single[-20:] = 1
    assert compare(groups={"device": single})["device"].warned


def test_false_warnings_are_as_rare_as_asked_for_whatever_the_number_of_quantities():
    """Twelve quantities of 300 nights without drift; patients have up to three images that resemble each other."""
    rng, warned = np.random.default_rng(0), 0
    nights = 300
    for seed in range(nights):
        patients = np.repeat(np.arange(120), rng.integers(1, 4, 120))
        night = int((patients >= 110).sum())
        of_patient = rng.normal(size=(12, 120))[:, patients] + rng.normal(size=(12, len(patients))) / 2
        numbers = {f"x{place}": values for place, values in enumerate(of_patient[:9])}
        groups = {f"g{place}": (values > 1).astype(int) for place, values in enumerate(of_patient[9:])}
        found = measure_distances(numbers, groups, patients, night, LEVEL, 199, seed)
        warned += any(each.warned for each in found.values())
    assert warned / nights <= LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / nights)


def test_random_nights_keep_the_images_of_a_patient_together():
    patients = np.repeat(np.arange(30), 4)
    for rows in draw_nights(patients, 8, 50, np.random.default_rng(0)):
        assert len(set(rows.tolist())) == 8
        assert len(set(patients[rows].tolist())) == 2


def test_a_night_may_be_larger_than_what_it_is_compared_with():
    rng = np.random.default_rng(0)
    assert not compare({"x": rng.normal(size=130)}, night=100)["x"].warned


def test_few_resamples_warn_of_nothing():
    rng = np.random.default_rng(0)
    found = compare({"x": np.r_[rng.normal(size=200), rng.normal(9, 1, 20)]}, resamples=9)
    assert not found["x"].warned


def test_many_quantities_leave_room_for_a_warning():
    """With 200 quantities and 1,999 random nights the farthest of each quantity would be equally rare by rank."""
    rng = np.random.default_rng(0)
    numbers = {f"x{place}": rng.normal(size=220) for place in range(200)}
    numbers["x7"][-20:] += 3
    found = measure_distances(numbers, {}, np.arange(220), 20, 0.0025, 1999)
    assert [name for name, distance in found.items() if distance.warned] == ["x7"]


@pytest.mark.parametrize("level", [0.002, 0.05, 0.5])
def test_what_reaches_its_limit_is_warned_of_and_nothing_else(level):
    rng = np.random.default_rng(1)
    for shift in np.linspace(0, 2, 9):
        numbers = {"a": rng.normal(size=220), "b": rng.integers(0, 3, 220).astype(float)}
        numbers["a"][-20:] += shift
        codes = (rng.random(220) < 0.1 + shift / 5 * (np.arange(220) >= 200)).astype(int)
        found = measure_distances(numbers, {"c": codes}, np.arange(220), 20, level, 999)
        for distance in found.values():
            assert distance.warned == (distance.value >= distance.limit)
            assert distance.warned == (distance.adjusted <= level)
            assert distance.p <= distance.adjusted + 1e-9
