"""Every cohort is known by name, says what it needs, and gives the two tables."""

from __future__ import annotations

import pytest

from cohorts.errors import CohortError
from cohorts.registry import cohort_names, open_cohort


def test_names():
    assert {"covid_chestxray", "mimic_cxr", "phantom"} <= set(cohort_names())


@pytest.mark.parametrize("name", cohort_names())
def test_missing_root_is_said_in_one_sentence(name, tmp_path):
    with pytest.raises(CohortError) as caught:
        open_cohort(name, tmp_path / "absent")
    assert f"RADALIGN_{name.upper()}_ROOT" in str(caught.value)
    assert str(tmp_path / "absent") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", cohort_names())
def test_empty_root_is_said_in_one_sentence(name, tmp_path):
    with pytest.raises(CohortError) as caught:
        open_cohort(name, tmp_path).scan()
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_name(tmp_path):
    with pytest.raises(CohortError, match=r"'mimic'.* covid_chestxray, .*mimic_cxr, .*phantom"):
        open_cohort("mimic", tmp_path)
