"""1 % lies within 10 % within the train split, patients stay whole, and growth moves nobody."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohorts.subsets import FRACTIONS, PRESENCE, SUBSETS, class_presence, films_of, subset_table
from cohorts.tables import STUDIES

FILMS = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from(["train", "validate", "test"])), min_size=1, max_size=60
)


def studies(films: list[tuple[object, str]], labels: list[dict[str, float]] | None = None) -> pa.Table:
    """A row per (patient, split); the film's id is its row."""
    rows = [
        {
            "cohort": "mimic_cxr",
            "subject_id": str(patient),
            "study_id": str(row),
            "image_id": str(row),
            "image_path": f"{row}.jpg",
            "view": "PA",
            "split": split,
            "labels": list(labels[row].items()) if labels else None,
        }
        for row, (patient, split) in enumerate(films)
    ]
    return pa.Table.from_pylist(rows, schema=STUDIES)


@given(FILMS, st.integers(0, 5))
def test_fractions_are_nested_and_patients_whole(films, seed):
    subsets = subset_table(studies(films), seed)
    assert subsets.schema.equals(SUBSETS, check_metadata=True)
    held = [set(films_of(subsets, fraction).to_pylist()) for fraction in FRACTIONS]
    assert held[0] <= held[1] <= held[2] == {str(row) for row, (_, split) in enumerate(films) if split == "train"}
    for members in held:
        patients = {films[int(film)][0] for film in members}
        assert members == {str(row) for row, (patient, split) in enumerate(films) if split == "train"} & {
            str(row) for row, (patient, _) in enumerate(films) if patient in patients
        }
    if held[2]:
        assert held[0]


@given(FILMS, FILMS, st.integers(0, 5))
def test_growth_adds_and_never_removes_but_the_stand_in_of_an_empty_fraction(films, more, seed):
    before = dict(zip(*subset_table(studies(films), seed).to_pydict().values(), strict=True))
    after = dict(zip(*subset_table(studies(films + more), seed).to_pydict().values(), strict=True))
    moved = {film for film in before if before[film] != after[film]}
    least = {film for film in before if before[film] == min(before.values())}
    assert moved <= least
    assert len({films[int(film)][0] for film in moved}) <= 1


def test_shares_and_seeds():
    table = studies([(patient, "train") for patient in range(20000)])
    counts = Counter(round(value, 2) for value in subset_table(table, 0)["fraction"].to_pylist())
    assert counts[0.01] / 20000 == pytest.approx(0.01, abs=0.002)
    assert (counts[0.01] + counts[0.1]) / 20000 == pytest.approx(0.1, abs=0.006)
    first, second = (set(films_of(subset_table(table, seed), 0.01).to_pylist()) for seed in (0, 1))
    assert len(first & second) < len(first) / 4


def test_the_order_of_rows_does_not_matter():
    table = studies([(patient, "train") for patient in range(500)])
    one, other = subset_table(table), subset_table(table.take(pa.array(range(499, -1, -1))))
    assert one.sort_by("image_id").equals(other.sort_by("image_id"))


def test_presence_of_classes_in_each_fraction():
    films = [(patient, "train") for patient in range(300)] + [("test", "test")]
    labels = [{"Edema": float(row % 2), "Fracture": -1.0} for row in range(300)] + [{"Edema": 1.0}]
    table = studies(films, labels)
    presence = class_presence(table, subset_table(table))
    assert presence.schema.equals(PRESENCE, check_metadata=True)
    whole = {row["label"]: row for row in presence.to_pylist() if row["fraction"] == 1}
    assert (whole["Edema"]["labelled"], whole["Edema"]["positive"]) == (300, 150)
    assert (whole["Fracture"]["labelled"], whole["Fracture"]["positive"]) == (300, 0)
    counts = [row["labelled"] for row in presence.to_pylist() if row["label"] == "Edema"]
    assert counts == sorted(counts)
    assert counts[0] > 0


def test_other_shares_and_empty_splits():
    subsets = subset_table(studies([("1", "test")]))
    assert len(subsets) == 0
    with pytest.raises(ValueError, match=r"no label fraction 0\.5"):
        films_of(subsets, 0.5)
