import numpy as np
import pytest

from evaluation.metrics.values import MACRO, ResultValue, add_positives, interval, list_unscored, summarise


def test_classes_that_cannot_be_scored_are_listed_and_not_averaged():
    points = np.array([0.5, np.nan, 0.9])
    resampled = np.array([[0.4, np.nan, 0.8], [0.6, 0.1, np.nan]])
    values = summarise("auroc", ["a", "b", "c"], points, resampled, np.array([10, 4, 10]))
    assert [value.class_name for value in values] == ["a", "b", "c", MACRO]
    assert values[1] == ResultValue("auroc", "b", None, None, None, 4)
    assert list_unscored(values) == [("auroc", "b")]
    macro = values[-1]
    assert (macro.value, macro.n) == (pytest.approx(0.7), 2)
    assert (macro.low, macro.high) == pytest.approx((0.6, 0.6))
    assert values[2].low == values[2].high == 0.8


def test_nothing_to_score():
    values = summarise("f1", ["a"], np.array([np.nan]), np.full((5, 1), np.nan), np.array([0]))
    assert values == [ResultValue("f1", name, None, None, None, 0) for name in ("a", MACRO)]


def test_a_value_without_resamples_has_no_interval():
    first, macro = summarise("f1", ["a"], np.array([0.3]), np.full((5, 1), np.nan), np.array([7]))
    assert first == ResultValue("f1", "a", 0.3, None, None, 7)
    assert macro == ResultValue("f1", MACRO, 0.3, None, None, 1)


def test_interval_is_the_central_95_percent():
    resampled = np.arange(1001.0)[:, None]
    value, _ = summarise("f1", ["a"], np.array([500.0]), resampled, np.array([1]))
    assert (value.low, value.high) == (25, 975)


def test_interval_by_ranks_is_wrong_below_40_resamples_and_ours_is_not():
    values = np.append(np.arange(20.0)[::-1], np.nan)
    low, high = interval(values, "ranks")
    assert (low, high) == (19, 18)
    low, high = interval(values)
    assert 0 < low < 1
    assert 18 < high < 19
    assert np.isnan(interval(np.full(3, np.nan))).all()


def test_positives_are_counted_for_classes_and_not_for_their_mean():
    labels = np.array([[1, 0], [1, np.nan], [0, 0]])
    values = summarise("auroc", ["a", "b"], np.array([0.5, np.nan]), np.zeros((2, 2)), np.array([3, 2]))
    assert [value.positives for value in add_positives(values, ["a", "b"], labels)] == [2, 0, None]
