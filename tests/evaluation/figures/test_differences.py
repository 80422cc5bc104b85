import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from evaluation.errors import EvaluationError
from evaluation.figures.differences import FEW_COLOUR, ClassDifference, compare_classes, draw_differences
from evaluation.figures.pictures import COLOURS
from evaluation.metrics.statistics import Comparison
from tests.evaluation.pictures import of_colour, picture


def test_differences_are_those_of_the_areas_with_an_interval_around_them():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (80, 3)).astype(float)
    labels[:, 2] = 0
    first, second = labels + rng.normal(size=labels.shape), labels + 3 * rng.normal(size=labels.shape)
    found = compare_classes(labels, first, second, list("abc"), np.arange(80).astype(str))
    assert [one.name for one in found] == ["a", "b"]
    for column, one in enumerate(found):
        areas = [roc_auc_score(labels[:, column], scores[:, column]) for scores in (first, second)]
        assert one.compared.difference == pytest.approx(areas[0] - areas[1])
        assert one.compared.low < one.compared.difference < one.compared.high
        assert one.positives == labels[:, column].sum()


def bar(name, difference, positives=50):
    return ClassDifference(name, Comparison(difference, difference - 0.05, difference + 0.05, 0.01), positives)


def test_bars_have_the_colour_of_their_sign_and_few_positives_are_grey():
    both = draw_differences([bar("a", 0.2), bar("$b$", -0.1)], ("lrclr", "chexzero"), "A simulation.")
    up, down = of_colour(both, COLOURS[2]), of_colour(both, COLOURS[1])
    assert up == pytest.approx(2 * down, rel=0.15)
    few = draw_differences([bar("a", 0.2, positives=9)], ("lrclr", "chexzero"))
    assert of_colour(few, FEW_COLOUR)
    assert not of_colour(few, COLOURS[2])


def test_the_largest_difference_is_on_top():
    drawn = picture(draw_differences([bar("a", -0.1), bar("b", 0.2)], ("one", "other")))
    rows = [
        np.argwhere((abs(drawn - colour) < 12).all(2))[:, 0].mean() for colour in ([0, 0x9E, 0x73], [0xD5, 0x5E, 0])
    ]
    assert rows[0] < rows[1]


def test_nothing_to_draw_is_refused():
    with pytest.raises(EvaluationError, match="no class"):
        draw_differences([], ("one", "other"))
