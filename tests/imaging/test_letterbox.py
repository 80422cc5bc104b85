"""Letterboxing: geometry, area averaging, thin masks, and boxes that follow their pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.letterbox import Frame, letterbox, letterbox_box, letterbox_mask

SIDES = st.integers(1, 300)
SIZES = st.sampled_from([16, 64, 224])


@settings(max_examples=100, deadline=None)
@given(height=SIDES, width=SIDES, size=SIZES)
def test_content_fills_the_longer_side_and_is_centred(height, width, size):
    square = letterbox(np.full((height, width), 200, np.uint8), size)
    frame = Frame.fit(height, width, size)
    assert square.shape == (size, size)
    assert max(frame.height, frame.width) == size
    assert abs(frame.height * width - frame.width * height) <= max(height, width)  # half a pixel of the square
    rows, columns = np.flatnonzero(square.any(1)), np.flatnonzero(square.any(0))
    assert (rows[0], len(rows)) == (frame.top, frame.height)
    assert (columns[0], len(columns)) == (frame.left, frame.width)
    assert abs(2 * frame.top + frame.height - size) <= 1
    assert abs(2 * frame.left + frame.width - size) <= 1
    assert set(np.unique(square)) <= {0, 200}


def test_shrinking_averages_areas():
    image = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    expected = image.reshape(16, 4, 16, 4).mean((1, 3))
    assert np.abs(letterbox(image, 16) - expected).max() <= 0.5


def test_image_of_the_right_size_is_unchanged():
    image = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    assert (letterbox(image, 32) == image).all()


def test_mask_keeps_its_area():
    mask = np.zeros((512, 400), bool)
    mask[100:300, 50:210] = True
    square = letterbox_mask(mask, 128)
    assert square.dtype == bool
    assert square.sum() == pytest.approx(mask.sum() / 16, rel=0.03)


@pytest.mark.parametrize("thickness", [1, 2, 3])
def test_thin_line_does_not_vanish(thickness):
    mask = np.zeros((1024, 1024), bool)
    mask[200:900, 501 : 501 + thickness] = True
    square = letterbox_mask(mask, 128)
    assert square.any(1).sum() >= 86
    assert square.any(0).sum() <= 2


def test_empty_mask_stays_empty():
    assert not letterbox_mask(np.zeros((40, 30), bool), 16).any()


@settings(max_examples=50, deadline=None)
@given(height=SIDES, width=SIDES, size=SIZES)
def test_a_squashed_image_fills_the_square(height, width, size):
    square = letterbox(np.full((height, width), 200, np.uint8), size, squash=True)
    assert square.shape == (size, size)
    assert (square == 200).all()
    assert Frame.fit(height, width, size, squash=True) == Frame(0, 0, size, size)


def test_squashing_averages_the_side_that_shrinks_and_interpolates_the_one_that_grows():
    image = np.random.default_rng(0).integers(0, 256, (64, 8)).astype(np.float32)
    square = letterbox(image, 16, squash=True)
    lines = image.reshape(16, 4, 8).mean(1)
    places = (np.arange(16) + 0.5) / 2 - 0.5
    expected = [np.interp(places, np.arange(8), line) for line in lines]
    np.testing.assert_allclose(square, expected, atol=1e-3)
    assert np.abs(square - letterbox(image, 16)).max() > 50
    even = np.tile(image, 8)  # 64 x 64: squashed and letterboxed are the same
    np.testing.assert_array_equal(letterbox(even, 16, squash=True), letterbox(even, 16))


@pytest.mark.parametrize("squash", [False, True])
@settings(max_examples=100, deadline=None)
@given(height=st.integers(64, 300), width=st.integers(64, 300), data=st.data())
def test_box_follows_its_pixels(squash, height, width, data):
    x, y = data.draw(st.integers(0, width - 32)), data.draw(st.integers(0, height - 32))
    across, down = data.draw(st.integers(16, width - x)), data.draw(st.integers(16, height - y))
    mask = np.zeros((height, width), bool)
    mask[y : y + down, x : x + across] = True
    square = letterbox_mask(mask, 224, squash)
    left, top, box_width, box_height = letterbox_box((x, y, across, down), height, width, 224, squash)
    columns, rows = np.flatnonzero(square.any(0)), np.flatnonzero(square.any(1))
    assert columns[0] == pytest.approx(left, abs=1.5)
    assert columns[-1] + 1 == pytest.approx(left + box_width, abs=1.5)
    assert rows[0] == pytest.approx(top, abs=1.5)
    assert rows[-1] + 1 == pytest.approx(top + box_height, abs=1.5)
