"""Bars of a difference between two methods per class, with its interval (LRCLR minus CheXzero, LRCLR's figure 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from evaluation.errors import EvaluationError
from evaluation.figures.pictures import COLOURS, as_png
from evaluation.metrics.statistics import Comparison, compare_areas
from evaluation.results.summary import FEWEST

FEW_COLOUR = "#b8b8b8"  # of classes with too few positives for a claim


@dataclass(frozen=True)
class ClassDifference:
    """The difference of a class, and the number of images that have it."""

    name: str
    compared: Comparison
    positives: int


def compare_classes(
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    classes: Sequence[str],
    subjects: Sequence[str] | np.ndarray,
) -> list[ClassDifference]:
    """The AUROC of `first` minus that of `second`, both (images, classes), by DeLong's test by patient.

    `labels` (images, classes) are 1, 0 or nan. Classes that cannot be compared are left out.
    """
    found = []
    for column, name in enumerate(classes):
        compared = compare_areas(labels[:, column], first[:, column], second[:, column], subjects)
        if np.isfinite(compared.low):
            found.append(ClassDifference(name, compared, int(np.count_nonzero(labels[:, column] == 1))))
    return found


def draw_differences(differences: Sequence[ClassDifference], methods: tuple[str, str], note: str = "") -> bytes:
    """Draw a bar for each class, the largest difference first, with its 95 % interval and the number of positives.

    Classes with fewer than FEWEST positives are grey: they are too few for a claim.
    """
    if not differences:
        raise EvaluationError("There is no class whose difference can be drawn.")
    ordered = sorted(differences, key=lambda one: -one.compared.difference)
    places = np.arange(len(ordered))
    points = np.array([one.compared.difference for one in ordered])
    errors = np.abs(np.array([(one.compared.low, one.compared.high) for one in ordered]).T - points)
    figure = Figure(figsize=(6.4, 0.36 * len(ordered) + 1.2), layout="constrained")
    axes = figure.subplots()
    axes.barh(places, points, color=[_choose_colour(one) for one in ordered], height=0.7)
    axes.errorbar(points, places, xerr=errors, fmt="none", ecolor="black", elinewidth=0.9, capsize=2.5)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(yticks=places, yticklabels=[f"{one.name} ({one.positives})" for one in ordered])
    axes.invert_yaxis()
    for label in axes.get_yticklabels():
        label.set(fontsize=8, parse_math=False)
    axes.set_xlabel(f"AUROC of {methods[0]} minus {methods[1]}, 95 % interval", fontsize=8, parse_math=False)
    return as_png(figure, note)


def _choose_colour(one: ClassDifference) -> str:
    if one.positives < FEWEST:
        return FEW_COLOUR
    return COLOURS[2] if one.compared.difference > 0 else COLOURS[1]
