"""Painting over: what is painted, where the control is, and whether a network that looks at the cue is caught."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.audit.measures.occlusion import compare_painted, paint_cue, paint_places
from evaluation.audit.measures.painting import PLACES, find_corners, find_rim, move_aside, paint_over, widen
from evaluation.audit.settings import AuditSettings

SIZE, IMAGES = 48, 60
SETTINGS = AuditSettings(fewest=10)
TUBE = np.zeros((SIZE, SIZE), bool)
TUBE[4:30, 23:26] = True
MARK = (slice(1, 6), slice(1, 6))  # in a corner


@pytest.fixture(scope="module")
def films():
    """Grey noise with a bright tube; a mark lies in the corner of those with the finding."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(80, 120, (IMAGES, SIZE, SIZE)).astype(np.uint8)
    pixels[:, TUBE] = 220
    labels = (np.arange(IMAGES) % 2 == 0).astype(float)
    pixels[labels == 1, *MARK] = 250
    return pixels, labels[:, None]


def masks(one):
    return np.broadcast_to(one, (IMAGES, SIZE, SIZE))


def look_at(part):
    """A network whose score rises with the brightness of a part of the image."""
    return lambda images: (
        1 / (1 + np.exp(-(images[:, *part].reshape(len(images), -1).mean(1) / 255 - 0.6) * 4))[:, None]
    )


def paint(pixels, part):
    rows = np.arange(IMAGES)
    frame = masks(np.ones((SIZE, SIZE), bool))
    return paint_cue("tube", pixels, rows, masks(TUBE), masks(np.zeros((SIZE, SIZE), bool)), frame, look_at(part))


def test_a_region_becomes_like_its_surroundings_and_nothing_else_changes(films):
    pixels, _ = films
    region = widen(TUBE)
    painted = paint_over(pixels[0], region)
    assert painted[TUBE].max() < 140 < pixels[0][TUBE].min()
    np.testing.assert_array_equal(painted[~region], pixels[0][~region])


def test_a_control_has_the_same_shape_elsewhere_or_there_is_none():
    nothing, everywhere = np.zeros_like(TUBE), np.ones_like(TUBE)
    control = move_aside(TUBE, nothing, everywhere)
    assert control.sum() == TUBE.sum()
    assert not (control & TUBE).any()
    avoided = np.zeros_like(TUBE)
    avoided[:, 26:] = True
    other = move_aside(TUBE, avoided, everywhere)
    assert other.sum() == TUBE.sum()
    assert not (other & avoided).any()
    assert move_aside(TUBE, everywhere, everywhere) is None
    assert move_aside(TUBE, nothing, TUBE) is None


@pytest.mark.parametrize("find", [find_corners, find_rim])
def test_places_of_marks_lie_in_the_image_and_apart_from_their_control(find):
    frame = np.zeros((SIZE, SIZE), bool)
    frame[:, 5:43] = True
    place, control = find(frame)
    assert place.any()
    assert control.any()
    assert not (place & control).any()
    assert not ((place | control) & ~frame).any()


@pytest.mark.parametrize(
    ("part", "looks"), [((slice(4, 30), slice(23, 26)), True), ((slice(35, 45), slice(0, 20)), False)]
)
def test_a_network_that_looks_at_the_tube_is_caught_and_another_is_not(films, part, looks):
    pixels, labels = films
    painted = paint(pixels, part)
    (test,) = compare_painted(painted, ["pneumothorax"], labels, np.arange(IMAGES), SETTINGS)
    assert (test.present, test.absent) == (30, 30)
    if looks:
        assert test.difference > 1
        assert test.p < 1e-6
    else:
        assert test.difference == pytest.approx(0, abs=1e-6)


def test_a_network_that_looks_at_marks_is_caught_by_the_place_that_they_are_in(films):
    pixels, labels = films
    frame = masks(np.ones((SIZE, SIZE), bool))
    for part, looks in ((MARK, True), ((slice(20, 28), slice(20, 28)), False)):
        found = {
            one.cue: next(compare_painted(one, ["pneumothorax"], labels, np.arange(IMAGES), SETTINGS))
            for one in paint_places(pixels, np.arange(IMAGES), frame, look_at(part))
        }
        assert set(found) == set(PLACES)
        corner = found["corners (marks, burned-in text)"]
        assert (corner.p is not None and corner.p < 1e-6) == looks


def test_what_the_control_of_a_place_does_is_no_finding(films):
    pixels, labels = films
    tall = (slice(0, 7), slice(20, 28))  # between the corners, where their control is painted over
    pixels = pixels.copy()
    pixels[labels[:, 0] == 1, *tall] = 250
    frame = masks(np.ones((SIZE, SIZE), bool))
    corners = next(paint_places(pixels, np.arange(IMAGES), frame, look_at(tall)))
    (test,) = compare_painted(corners, ["pneumothorax"], labels, np.arange(IMAGES), SETTINGS)
    assert test.difference < -0.1
    assert test.p > 0.99


def test_too_few_patients_are_not_measured(films):
    pixels, labels = films
    painted = paint(pixels, MARK)
    (test,) = compare_painted(painted, ["pneumothorax"], labels, np.arange(IMAGES) // 12, SETTINGS)
    assert test.p is None
    assert "5 patients" in test.reason


def test_a_cue_is_not_its_own_shortcut(films):
    pixels, labels = films
    assert not list(compare_painted(paint(pixels, MARK), ["tube"], labels, np.arange(IMAGES), SETTINGS))
