"""Regions drawn as masks, against literal loops over pixel centres."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.shapes import ShapeError, bounding_box, shape_mask

HEIGHT, WIDTH = 9, 12
COORDINATE = st.floats(-4, 16).map(lambda value: round(value, 2) + 0.003)  # on no pixel centre


def literal(inside) -> np.ndarray:
    return np.array([[255 * inside(x + 0.5, y + 0.5) for x in range(WIDTH)] for y in range(HEIGHT)], np.uint8)


@given(st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE))
def test_rectangle_and_ellipse(corners):
    x1, y1, x2, y2 = corners
    expected = literal(lambda x, y: x1 <= x < x2 and y1 <= y < y2)
    np.testing.assert_array_equal(shape_mask("rectangle", corners, HEIGHT, WIDTH), expected)
    if x2 > x1 + 0.1 and y2 > y1 + 0.1:
        centre_x, centre_y, across, down = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2, (y2 - y1) / 2
        expected = literal(lambda x, y: ((x - centre_x) / across) ** 2 + ((y - centre_y) / down) ** 2 <= 1)
        np.testing.assert_array_equal(shape_mask("ellipse", corners, HEIGHT, WIDTH), expected)


def crosses(x, y, corners) -> bool:
    inside = False
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if (y1 <= y) != (y2 <= y):
            inside ^= x >= x1 + (y - y1) * (x2 - x1) / (y2 - y1)
    return inside


@given(st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=7))
def test_polygon(corners):
    mask = shape_mask("polygon", np.ravel(corners).tolist(), HEIGHT, WIDTH)
    np.testing.assert_array_equal(mask, literal(lambda x, y: crosses(x, y, corners)))


def test_a_box_of_whole_pixels_has_its_area():
    mask = shape_mask("rectangle", [2, 3, 7, 5], HEIGHT, WIDTH)
    assert (mask > 0).sum() == 10
    assert bounding_box(mask) == (2, 3, 5, 2)
    polygon = shape_mask("polygon", [2, 3, 7, 3, 7, 5, 2, 5], HEIGHT, WIDTH)
    np.testing.assert_array_equal(polygon, mask)


@given(st.lists(st.integers(0, HEIGHT * WIDTH), max_size=6), st.randoms())
def test_runs_go_down_the_columns(starts, random):
    pairs = [(start, random.randint(0, HEIGHT * WIDTH - start)) for start in starts]
    flat = np.zeros(HEIGHT * WIDTH, np.uint8)
    for start, length in pairs:
        flat[start : start + length] = 255
    mask = shape_mask("rle", [value for pair in pairs for value in pair], HEIGHT, WIDTH)
    np.testing.assert_array_equal(mask, flat.reshape(WIDTH, HEIGHT).T)


@pytest.mark.parametrize(
    ("kind", "points", "message"),
    [
        ("star", [], "not known; use rectangle"),
        ("rectangle", [1, 2, 3], "four numbers"),
        ("ellipse", [1, 2, 3, float("nan")], "not a number"),
        ("polygon", [1, 1, 2, 2], "three corners"),
        ("polygon", [1, 1, 2, 2, 3, 3, 4], "three corners"),
        ("polygon", [0, 1e308, 5, -1e308, 5, 50], "farther off"),
        ("polygon", [0, 0, 1e9, 5, 5, -2e9], "farther off"),
        ("polygon", [1, 1] * 20_001, "20001 corners"),
        ("ellipse", [-1e308, -1e308, 1e308, 1e308], "farther off"),
        ("rle", [9e18, 9e18], "farther off"),
        ("rle", [1], "pairs"),
        ("rle", [-1, 2], "pairs"),
        ("rle", [0.5, 2], "pairs"),
        ("rle", [100, 9], "beyond the 9 x 12"),
    ],
)
def test_what_cannot_be_drawn_is_said(kind, points, message):
    with pytest.raises(ShapeError, match=message):
        shape_mask(kind, points, HEIGHT, WIDTH)


def test_nothing_has_no_box():
    assert bounding_box(np.zeros((4, 5), bool)) is None


def test_a_shape_takes_little_memory():
    """The masks of several images may be drawn in a process that holds much else."""
    height, width = 4_000, 5_000
    for kind, points in (
        ("polygon", [1, 1, 5e3, 2, 9, 4e3]),
        ("rle", [5, height * width - 5]),
        ("ellipse", [0, 0, 5e3, 4e3]),
    ):
        tracemalloc.start()
        assert shape_mask(kind, points, height, width).any()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 12 * height * width, kind  # bytes
