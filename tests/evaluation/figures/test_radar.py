import warnings

import numpy as np
import pytest

from evaluation.errors import EvaluationError
from evaluation.figures.radar import COLOURS, UNSCORED, draw_radar
from tests.evaluation.pictures import of_colour, picture

CLASSES = [f"class {index}" for index in range(14)]


def numbers(seed):
    return np.random.default_rng(seed).uniform(0.6, 0.9, 14).tolist()


def test_every_line_has_its_colour_and_the_picture_its_size():
    with warnings.catch_warnings(action="error"):
        drawn = draw_radar(CLASSES, {"trained": numbers(0), "untrained": numbers(1)})
    assert picture(drawn).shape == (540, 760, 3)
    assert min(of_colour(drawn, colour) for colour in COLOURS[:2]) > 200
    assert not of_colour(drawn, COLOURS[2])


def test_a_class_that_is_not_scored_is_marked_and_leaves_a_gap():
    known = numbers(0)
    unknown = [*known[:-1], None]
    whole, open_at_one = draw_radar(CLASSES, {"trained": known}), draw_radar(CLASSES, {"trained": unknown})
    assert of_colour(open_at_one, UNSCORED, 0) > of_colour(whole, UNSCORED, 0)
    assert 0 < of_colour(open_at_one, COLOURS[0]) < of_colour(whole, COLOURS[0])


@pytest.mark.parametrize("count", [1, 2])
def test_few_classes_are_bars(count):
    low, high = ({"trained": [value] * count} for value in (0.25, 0.75))
    areas = [of_colour(draw_radar(CLASSES[:count], values), COLOURS[0]) for values in (low, high)]
    assert areas[1] == pytest.approx(3 * areas[0], rel=0.05)  # from 0, the legend aside


def test_nothing_scored_and_odd_names_are_drawn():
    with warnings.catch_warnings(action="error"):
        drawn = draw_radar(["$a_b$", r"\frac", "c"], {"trained": [None] * 3, "b": [0.0, 1.0, 0.5]}, "a $note$ " * 30)
        draw_radar(CLASSES[:3], {"trained": [None] * 3})
        draw_radar(CLASSES[:1], {"trained": [None]})
    assert picture(drawn).shape == (540, 760, 3)


def test_numbers_of_other_classes_are_refused():
    for classes, values in (([], {"a": []}), (["a"], {}), (["a", "b"], {"a": [0.5]})):
        with pytest.raises(EvaluationError, match="for each of them in every line"):
            draw_radar(classes, values)
