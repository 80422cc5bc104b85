"""No patient and no copy of a test or validate image of one member is trained on in another."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.pooling.leaks import Part, find_left_out
from shards.duplicates import hash_images
from tests.evaluation.random_images import random_images

ONE, OTHER, APART = "edema_severity", "mimic_cxr", "open_i"  # the first two keep the identifiers of one archive
PICTURES = random_images(0, 12)
SPLITS = ("train", "validate", "test")


def compressed(image):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_GRAYSCALE)


VERSIONS = (lambda image: image, compressed, lambda image: image[:, ::-1])  # as it is, as a JPG, mirrored
HASHES = [hash_images(np.stack([change(image) for image in PICTURES])) for change in VERSIONS]


def part(cohort, split, rows):
    """Rows are pairs of a picture and a patient, and the version of the picture."""
    ids = np.array([f"{split}{row}" for row in range(len(rows))], object)
    subjects = np.array([patient for _, patient, _ in rows], object)
    hashes = [HASHES[version][picture] for picture, _, version in rows]
    return Part(cohort, split, ids, subjects, np.array(hashes, np.uint8).reshape(len(rows), *HASHES[0].shape[1:]))


def reasons(parts):
    return {(row["cohort"], row["image_id"]): (row["reason"], row["other"]) for row in find_left_out(parts).to_pylist()}


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize(
    ("split", "later", "reason"),
    [
        ("train", "test", "copy_in_test"),
        ("train", "validate", "copy_in_validate"),
        ("validate", "test", "copy_in_test"),
        ("test", "train", None),
        ("test", "test", None),
        ("test", "validate", None),
    ],
)
def test_a_copy_is_left_out(split, later, reason, version):
    found = reasons([part(APART, split, [(0, "p", version), (1, "q", 0)]), part(OTHER, later, [(0, "x", 0)])])
    assert found.get((APART, f"{split}0")) == (reason and (reason, OTHER))
    assert (APART, f"{split}1") not in found


@pytest.mark.parametrize("split", SPLITS)
def test_a_copy_tells_of_the_patient_in_every_member_with_its_identifiers(split):
    third = part(APART, "test", [(0, "x", 1)])
    parts = [part(ONE, "train", [(1, "q", 0), (2, "r", 0)]), part(OTHER, split, [(0, "q", 0)]), third]
    found = reasons(parts)
    assert found[ONE, "train0"][0] in ("patient_of_copy_in_test", f"patient_in_{split}")
    assert (ONE, "train1") not in found


def test_patients_are_compared_where_identifiers_are_shared():
    parts = [part(ONE, "train", [(0, "p", 0), (1, "q", 0)]), part(OTHER, "test", [(2, "p", 0)])]
    assert reasons(parts) == {(ONE, "train0"): ("patient_in_test", OTHER)}
    parts = [part(APART, "train", [(0, "p", 0)]), part(OTHER, "test", [(2, "p", 0)])]
    assert reasons(parts) == {}


def test_a_copy_tells_who_the_patient_is():
    parts = [part(APART, "train", [(0, "p", 0), (1, "p", 0), (3, "q", 0)]), part(OTHER, "test", [(0, "x", 1)])]
    assert reasons(parts) == {
        (APART, "train0"): ("copy_in_test", OTHER),
        (APART, "train1"): ("patient_of_copy_in_test", OTHER),
    }


def test_of_copies_in_training_one_is_kept():
    parts = [part(name, "train", [(0, name, 0)]) for name in (APART, OTHER, ONE)]
    assert reasons(parts) == {
        (OTHER, "train0"): ("copy_in_train", ONE),
        (APART, "train0"): ("copy_in_train", ONE),
    }


def test_a_copy_of_what_is_left_out_itself_is_kept():
    # the first member's copy is left out for its patient, who is nobody's in the third
    parts = [part(ONE, "train", [(0, "p", 0)]), part(OTHER, "test", [(5, "p", 0)]), part(APART, "train", [(0, "r", 0)])]
    assert reasons(parts) == {(ONE, "train0"): ("patient_in_test", OTHER)}


def test_the_splits_of_one_member_are_left_as_they_are():
    assert reasons([part(OTHER, split, [(0, "p", 0)]) for split in SPLITS]) == {}


ROWS = st.lists(st.tuples(st.integers(0, 11), st.sampled_from("pqrs"), st.integers(0, 2)), max_size=5)


@settings(deadline=None, max_examples=40)
@given(st.fixed_dictionaries({(name, split): ROWS for name in (ONE, OTHER, APART) for split in SPLITS}))
def test_nothing_crosses(rows):
    found = reasons([part(name, split, given_rows) for (name, split), given_rows in rows.items()])
    used = {
        (name, split): [row for index, row in enumerate(given_rows) if (name, f"{split}{index}") not in found]
        for (name, split), given_rows in rows.items()
    }
    for (name, split), kept in used.items():
        for (other, later), theirs in rows.items():
            pictures = {picture for picture, _, _ in theirs}
            patients = {patient for _, patient, _ in theirs} if APART not in (name, other) else set()
            if name != other and (split, later) in {("train", "test"), ("train", "validate"), ("validate", "test")}:
                assert not pictures & {picture for picture, _, _ in kept}
                assert not patients & {patient for _, patient, _ in kept}
            if name != other and split == later != "test":
                assert not {picture for picture, _, _ in used[other, later]} & {picture for picture, _, _ in kept}
    assert all(used[name, "test"] == given_rows for (name, split), given_rows in rows.items() if split == "test")
