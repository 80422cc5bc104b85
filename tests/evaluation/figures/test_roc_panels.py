import warnings

import numpy as np
import pytest

from evaluation.errors import EvaluationError
from evaluation.figures.pictures import COLOURS, style_line
from evaluation.figures.roc_panels import draw_roc_panels
from tests.evaluation.pictures import of_colour, picture


def make(classes=5, images=40, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (images, classes)).astype(float)
    return labels, {f"method {place}": labels + place + rng.normal(size=labels.shape) for place in range(3)}


def test_each_method_has_its_line_and_each_class_its_panel():
    labels, scores = make()
    with warnings.catch_warnings(action="error"):
        drawn = draw_roc_panels(scores, labels, [f"$c_{place}$" for place in range(5)], "A simulation.")
    assert picture(drawn).shape == (645, 1040, 3)
    assert min(of_colour(drawn, colour, 40) for colour in COLOURS[:3]) > 200
    assert not of_colour(drawn, COLOURS[3], 5)


def test_classes_with_one_label_are_left_out_and_unknown_labels_do_not_count():
    labels, scores = make(3)
    labels[:, 2], labels[:5, 0] = 1, np.nan
    scores = {name: np.where(np.isnan(labels), 1e9, found) for name, found in scores.items()}
    assert picture(draw_roc_panels(scores, labels, list("abc"))).shape[1] == 2 * 260


def test_a_perfect_method_goes_through_the_upper_corner_and_its_opposite_through_the_lower():
    labels, _ = make(1)
    blue = np.array([0x00, 0x72, 0xB2])
    places = []
    for sign in (1, -1):
        drawn = picture(draw_roc_panels({"a": sign * labels}, labels, ["a"]))
        rows, columns = np.nonzero((abs(drawn - blue) < 60).all(2))
        below = rows > 0.3 * len(drawn)  # the legend is above
        places.append((rows[below].mean(), columns[below].mean()))
    (row, column), (lower, right) = places
    assert row < lower
    assert column < right


def test_lines_beyond_the_colours_are_dashed():
    styles = [tuple(style_line(place).values()) for place in range(24)]
    assert len(set(styles)) == 24
    assert style_line(0)["linestyle"] == "-"


def test_scores_of_other_images_are_refused():
    labels, scores = make(2)
    for given in ({}, {"a": labels[:5]}):
        with pytest.raises(EvaluationError, match="scores of the same images"):
            draw_roc_panels(given, labels, list("ab"))
    with pytest.raises(EvaluationError, match="a class with both labels"):
        draw_roc_panels(scores, np.ones_like(labels), list("ab"))
