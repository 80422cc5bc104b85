"""Splits share no patient with what is learnt from, and labels are 1, 0 or unknown."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.dataset import Images
from evaluation.errors import EvaluationError
from evaluation.learning.annotated import LabelledImages, learnt_labels, prepare

CLASSES = ["A", "B"]


def split(labels, subjects):
    labels = np.asarray(labels, float).reshape(-1, 2)
    pixels = np.arange(len(labels), dtype=np.uint8)[:, None, None] + np.zeros((1, 2, 2), np.uint8)
    return LabelledImages(Images.of_array(pixels, np.asarray(subjects)), labels)


OTHER = split([[1, 0], [0, 1]], ["v", "w"])


@given(*[st.lists(st.sampled_from("abcdef"), min_size=1, max_size=9)] * 3)
def test_train_has_patients_of_its_own(train, validate, test):
    parts = [split([[1, 0]] * len(names), names) for names in (train, validate, test)]
    own = [name for name in train if name not in validate + test]
    if not own:
        with pytest.raises(EvaluationError, match="No image to train on"):
            prepare(*parts, CLASSES, exclusive=False)
        return
    prepared = prepare(*parts, CLASSES, exclusive=False)
    assert [list(images.subjects) for images in prepared] == [own, validate, test]


def test_images_without_a_known_label_teach_nothing():
    train = split([[1, np.nan], [np.nan, -1], [0, 1], [-1, np.nan]], list("abcd"))
    train, _, _ = prepare(train, OTHER, OTHER, CLASSES, exclusive=False)
    np.testing.assert_array_equal(train.labels, [[1, np.nan], [0, 1]])
    np.testing.assert_array_equal(train.pixels[:][:, 0, 0], [0, 2])


def test_exclusive_classes_are_all_known_or_none():
    train = split([[1, np.nan], [0, 0], [-1, 1], [0, 1]], list("abcd"))
    train, _, test = prepare(train, OTHER, split([[0, 0], [1, 0]], ["y", "z"]), CLASSES, exclusive=True)
    np.testing.assert_array_equal(train.labels, [[1, 0], [0, 1], [0, 1]])
    np.testing.assert_array_equal(test.labels, [[np.nan, np.nan], [1, 0]])


def test_what_has_one_label_in_train_cannot_be_scored():
    train, _, test = prepare(split([[1, 0], [1, 1]], ["a", "b"]), OTHER, OTHER, CLASSES, exclusive=False)
    np.testing.assert_array_equal(learnt_labels(train, test.labels), [[np.nan, 0], [np.nan, 1]])


def test_mistakes_are_one_sentence():
    good = split([[1, 0]], ["a"])
    with pytest.raises(EvaluationError, match="several of the classes"):
        prepare(split([[1, 1]], ["a"]), OTHER, OTHER, CLASSES, exclusive=True)
    with pytest.raises(EvaluationError, match="do not fit together"):
        prepare(good, OTHER, OTHER, ["A"], exclusive=False)
    with pytest.raises(EvaluationError, match="test split is empty"):
        prepare(good, OTHER, split([], []), CLASSES, exclusive=False)
