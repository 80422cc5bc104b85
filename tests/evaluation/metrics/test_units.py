"""One score per study: means of scores and one rule for labels, against literal loops."""

import numpy as np
import pytest

from evaluation.dataset import Images
from evaluation.metrics.units import IMAGE, STUDY, Scored

STUDIES = ["s2", "s1", "s2", "s1", "s3"]
SUBJECTS = ["p", "p", "p", "q", "q"]  # two patients call a study s1
PLACES = [0, 1, 0, 2, 3]


@pytest.fixture
def images():
    found = Images.of_array(np.zeros((5, 2, 2), np.uint8), np.array(SUBJECTS))
    object.__setattr__(found, "study_ids", np.array(STUDIES))
    return found


def test_images_are_grouped_by_patient_and_study_in_their_order(images):
    scored = Scored.of(images, STUDY)
    assert scored.of_image.tolist() == PLACES
    assert scored.subjects.tolist() == ["p", "p", "q", "q"]
    chosen = Scored.of(images.select(np.array([4, 2, 0])), STUDY)
    assert (chosen.of_image.tolist(), chosen.subjects.tolist()) == ([0, 1, 1], ["q", "p"])


def test_the_score_of_a_study_is_the_mean_of_its_images(images):
    scores = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    scores[3, 1] = np.nan
    means = Scored.of(images, STUDY).average(scores)
    for place in range(4):
        own = [scores[row].astype(np.float64) for row in range(5) if PLACES[row] == place]
        np.testing.assert_allclose(means[place], sum(own) / len(own), rtol=1e-12)
    assert np.isnan(means[2, 1])


def test_a_class_is_present_where_one_image_has_it_and_absent_where_none_has_and_one_lacks_it(images):
    nan = np.nan
    labels = np.array([[0, nan, nan], [1, 0, 1], [1, 0, nan], [nan, nan, 0], [1, 1, 0]])
    joined = Scored.of(images, STUDY).join_labels(labels)
    np.testing.assert_array_equal(joined, [[1, 0, nan], [1, 0, 1], [nan, nan, 0], [1, 1, 0]])


def test_a_study_with_several_exclusive_classes_is_unknown(images):
    labels = np.eye(3)[[0, 1, 2, 1, 0]]
    joined = Scored.of(images, STUDY).join_labels(labels, exclusive=True)
    np.testing.assert_array_equal(joined, [[np.nan] * 3, [0, 1, 0], [0, 1, 0], [1, 0, 0]])


def test_images_are_scored_as_they_are(images):
    scored, scores = Scored.of(images, IMAGE), np.array([[np.nan, 0.1]] * 5, np.float32)
    assert scored.average(scores) is scores
    assert scored.join_labels(scores, exclusive=True) is scores
    assert scored.subjects.tolist() == SUBJECTS
    assert len(scored) == 5
