"""Splits by patient: their shares, that nobody is in two, and that they stay when an archive grows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cohorts.splits import carve_validation, patient_positions, split_by_patient

PATIENTS = pd.Series([f"p{number}" for number in range(4000) for _ in range(2)])


def test_shares_and_one_split_per_patient():
    split = split_by_patient("toy", "70/10/20", PATIENTS)
    shares = split.value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.7, abs=0.03)
    assert shares["validate"] == pytest.approx(0.1, abs=0.02)
    assert set(split) == {"train", "validate", "test"}
    assert split.groupby(PATIENTS).nunique().eq(1).all()


def test_a_growing_archive_moves_nobody():
    whole = split_by_patient("toy", "80/10/10", PATIENTS)
    part = split_by_patient("toy", "80/10/10", PATIENTS[::7])
    pd.testing.assert_series_equal(part, whole[::7])
    assert split_by_patient("toy", "80/10/10", PATIENTS.sample(frac=1, random_state=0)).sort_index().equals(whole)


def test_splits_are_stored_in_their_names_and_nowhere_else():
    """Pinned, so that a table made today and one made next year agree."""
    patients = pd.Series(["p0", "p1", "p2", "p3"])
    assert split_by_patient("toy", "70/10/20", patients).tolist() == [
        "test",
        "train",
        "train",
        "test",
    ]


def test_cohorts_and_families_are_independent():
    one, other = (patient_positions(name, "80/10/10", PATIENTS) for name in ("toy", "game"))
    assert abs(np.corrcoef(one[::2], other[::2])[0, 1]) < 0.05
    assert not np.allclose(one, patient_positions("toy", "70/10/20", PATIENTS))


def test_shares_need_not_add_to_a_hundred():
    assert split_by_patient("toy", "70/10/20", PATIENTS).eq("train").mean() == pytest.approx(0.7, abs=0.03)
    assert split_by_patient("toy", "1/0/1", PATIENTS).eq("test").mean() == pytest.approx(0.5, abs=0.03)


def test_validation_is_carved_from_train_alone():
    split = pd.Series(np.where(np.arange(8000) < 6000, "train", "test"))
    carved = carve_validation("toy", PATIENTS, split, 0.1)
    assert (carved[6000:] == "test").all()
    assert carved[:6000].eq("validate").mean() == pytest.approx(0.1, abs=0.02)
    assert carved.groupby(PATIENTS).nunique().eq(1).all()


def test_no_rows():
    assert split_by_patient("toy", "80/10/10", pd.Series([], dtype=object)).empty
