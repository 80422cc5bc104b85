"""Settings of tasks that cannot be used are refused with one sentence before anything is computed."""

from __future__ import annotations

import pytest

from evaluation.errors import EvaluationError
from evaluation.tasks.registry import check_options, repeated_settings, task


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fine_tune": {"maximum_steps": -1}}, "`maximum_steps` is -1, but must be at least 0"),
        ({"detection": {"width": 0}}, "`width` is 0, but must be at least 1"),
        ({"segmentation": {"learning_rate": float("nan")}}, "`learning_rate` is nan"),
        ({"image_image_retrieval": {"queries": -1}}, "`queries` is -1, but must be at least 0"),
        ({"image_image_retrieval": {"candidates": 0}}, "`candidates` is 0, but must be at least 1"),
        ({"fine_tune": {"epoch": 1}}, "has no setting `epoch`; it has learning_rate"),
        ({"linear_probe": {"x": 1}}, "The task linear_probe has no settings"),
        ({"grading": {"epochs": 1}}, "has the settings of fine_tune"),
        ({"nothing": {}}, "There is no task nothing"),
    ],
)
def test_options(options, sentence):
    with pytest.raises(EvaluationError, match=sentence):
        check_options(options)


def test_settings_within_their_bounds_are_taken():
    check_options({"fine_tune": {"maximum_steps": 0, "epochs": 1}, "detection": {}})
    assert task("grading").read_settings({"fine_tune": {"epochs": 3}}).epochs == 3


@pytest.mark.parametrize(
    ("fractions", "repeats", "sentence"),
    [([0.5], 1, r"fractions names 0\.5, which is not one of 0\.01, 0\.1, 1\.0"), ([1.0], 0, "repeats is 0")],
)
def test_amounts(fractions, repeats, sentence):
    with pytest.raises(EvaluationError, match=sentence):
        repeated_settings(["linear_probe"], fractions, repeats)
