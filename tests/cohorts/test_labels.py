"""Label maps: selected by name whatever the order of the columns, and uncertain ones decided by each policy."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohorts.labels import (
    CHEXPERT_5,
    CHEXPERT_5_DECISIONS,
    CHEXPERT_14,
    LABELS,
    POLICIES,
    decide_uncertain,
    label_maps,
    label_matrix,
    label_names,
    select_labels,
)

VALUES = st.sampled_from([-1.0, 0.0, 1.0])
MAPS = st.lists(st.none() | st.dictionaries(st.sampled_from(CHEXPERT_14), VALUES), max_size=12)


def array(maps: list[dict[str, float] | None]) -> pa.Array:
    return pa.array([None if row is None else list(row.items()) for row in maps], LABELS)


def plain(labels: pa.Array) -> list[dict[str, float] | None]:
    return [None if row is None else dict(row) for row in labels.to_pylist()]


def test_the_order_of_columns_does_not_matter():
    """train.csv has Lung Opacity before Lung Lesion; the labeler, GLoRIA and MGCA have them the other way round."""
    values = np.array([[1, 0, np.nan], [-1, np.nan, 1]], np.float32)
    names = ("Lung Opacity", "Lung Lesion", "Edema")
    other = label_maps(names[::-1], values[:, ::-1])
    for labels in (label_maps(names, values), other):
        np.testing.assert_array_equal(label_matrix(labels, names), values)
        np.testing.assert_array_equal(label_matrix(labels, ("Lung Lesion", "Lung Opacity")), values[:, [1, 0]])


def test_the_sets_of_chexpert():
    assert len(CHEXPERT_14) == len(set(CHEXPERT_14)) == 14
    assert set(CHEXPERT_5) < set(CHEXPERT_14)
    assert set(CHEXPERT_5_DECISIONS) == set(CHEXPERT_5)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("ignore", {"Fracture": 1.0}),
        ("zeros", {"Edema": 0.0, "Cardiomegaly": 0.0, "Pneumonia": 0.0, "Fracture": 1.0}),
        ("ones", {"Edema": 1.0, "Cardiomegaly": 1.0, "Pneumonia": 1.0, "Fracture": 1.0}),
        ("chexpert_5", {"Edema": 1.0, "Cardiomegaly": 0.0, "Fracture": 1.0}),
    ],
)
def test_policies(policy, expected):
    row = {"Edema": -1.0, "Cardiomegaly": -1.0, "Pneumonia": -1.0, "Fracture": 1.0}
    assert plain(decide_uncertain(array([row, None, {}]), policy)) == [expected, None, {}]


def test_an_unknown_policy_is_told():
    with pytest.raises(ValueError, match=r"'maybe'.*choose ignore, zeros, ones"):
        decide_uncertain(array([]), "maybe")


@given(MAPS, st.sampled_from(sorted(POLICIES)))
def test_no_policy_leaves_an_uncertain_label_or_touches_another(maps, policy):
    decided = plain(decide_uncertain(array(maps), policy))
    for before, after in zip(maps, decided, strict=True):
        assert (before is None) == (after is None)
        certain = {name: value for name, value in (before or {}).items() if value != -1}
        assert {name: (after or {})[name] for name in certain} == certain
        assert -1 not in (after or {}).values()
        assert set(after or {}) <= set(before or {})


@given(MAPS, st.integers(0, 12), st.lists(st.sampled_from(CHEXPERT_14), unique=True, max_size=5))
def test_selection_by_name_of_slices_and_chunks(maps, start, names):
    labels = array(maps)
    pieces = pa.chunked_array([labels[:start], labels[start:]], LABELS)
    expected = [None if row is None else {k: v for k, v in row.items() if k in names} for row in maps]
    assert plain(select_labels(pieces, names)) == expected
    assert plain(select_labels(labels[start:], names)) == expected[start:]
    matrix = label_matrix(labels[start:], names, blank=7)
    assert matrix.tolist() == [[(row or {}).get(name, 7) for name in names] for row in maps[start:]]
    assert label_names(pieces) == sorted({name for row in maps for name in row or {}})
