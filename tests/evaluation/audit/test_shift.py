"""The matrix of shift: each network on each dataset that it was tested on."""

from __future__ import annotations

import pytest

from evaluation.audit.shift import build_matrix
from tests.evaluation.tables.home_of_results import fill, level


def test_a_line_is_a_network_and_its_cohort_and_a_column_a_dataset(workspace):
    fill(workspace, ["convirt", "medklip"])
    matrix = build_matrix(workspace, print)
    assert set(matrix.columns[:2]) == {"phantom", "mimic_cxr"}
    assert matrix.columns[2:] == ("chexpert", "rsna_pneumonia")
    assert set(matrix.lines) == {
        (cohort, name) for cohort in ("phantom", "mimic_cxr") for name in ("convirt", "medklip")
    }
    line = matrix.lines["phantom", "medklip"]
    assert set(line) == {"phantom", "chexpert", "rsna_pneumonia"}
    assert line["chexpert"].value == pytest.approx(level("phantom", 1, "trained"))
    assert "phantom" in matrix.simulated


def test_a_home_without_results_has_no_matrix(workspace):
    matrix = build_matrix(workspace, print)
    assert not matrix.lines
    assert not matrix.columns
