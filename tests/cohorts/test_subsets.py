"""1 % lies within 10 % within the train split, patients stay whole, and growth moves nobody."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohorts.subsets import FRACTIONS, PRESENCE, SUBSETS, class_presence, images_of, subset_table
from cohorts.tables import STUDIES

IMAGES = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from(["train", "validate", "test"])), min_size=1, max_size=60
)


def studies(images: list[tuple[object, str]], labels: list[dict[str, float]] | None = None) -> pa.Table:
    """A row per (patient, split); the image's id is its row."""
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
        for row, (patient, split) in enumerate(images)
    ]
    return pa.Table.from_pylist(rows, schema=STUDIES)


@given(IMAGES, st.integers(0, 5))
def test_fractions_are_nested_and_patients_whole(images, seed):
    subsets = subset_table(studies(images), seed)
    assert subsets.schema.equals(SUBSETS, check_metadata=True)
    held = [set(images_of(subsets, fraction).to_pylist()) for fraction in FRACTIONS]
    assert held[0] <= held[1] <= held[2] == {str(row) for row, (_, split) in enumerate(images) if split == "train"}
    for members in held:
        patients = {images[int(image)][0] for image in members}
        assert members == {str(row) for row, (patient, split) in enumerate(images) if split == "train"} & {
            str(row) for row, (patient, _) in enumerate(images) if patient in patients
        }
    if held[2]:
        assert held[0]


@given(IMAGES, IMAGES, st.integers(0, 5))
def test_growth_adds_and_never_removes_but_the_stand_in_of_an_empty_fraction(images, more, seed):
    before = dict(zip(*subset_table(studies(images), seed).to_pydict().values(), strict=True))
    after = dict(zip(*subset_table(studies(images + more), seed).to_pydict().values(), strict=True))
    moved = {image for image in before if before[image] != after[image]}
    least = {image for image in before if before[image] == min(before.values())}
    assert moved <= least
    assert len({images[int(image)][0] for image in moved}) <= 1


def test_shares_and_seeds():
    table = studies([(patient, "train") for patient in range(20000)])
    counts = Counter(round(value, 2) for value in subset_table(table, 0)["fraction"].to_pylist())
    assert counts[0.01] / 20000 == pytest.approx(0.01, abs=0.002)
    assert (counts[0.01] + counts[0.1]) / 20000 == pytest.approx(0.1, abs=0.006)
    first, second = (set(images_of(subset_table(table, seed), 0.01).to_pylist()) for seed in (0, 1))
    assert len(first & second) < len(first) / 4


def test_the_order_of_rows_does_not_matter():
    table = studies([(patient, "train") for patient in range(500)])
    one, other = subset_table(table), subset_table(table.take(pa.array(range(499, -1, -1))))
    assert one.sort_by("image_id").equals(other.sort_by("image_id"))


def test_presence_of_classes_in_each_fraction():
    images = [(patient, "train") for patient in range(300)] + [("test", "test")]
    labels = [{"Edema": float(row % 2), "Fracture": -1.0} for row in range(300)] + [{"Edema": 1.0}]
    table = studies(images, labels)
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
        images_of(subsets, 0.5)
