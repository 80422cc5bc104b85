"""Radar chart: a number per class for several methods, as in the papers for the 14 diseases of ChestX-ray14."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.errors import EvaluationError
from evaluation.figures.pictures import COLOURS, as_png, style_line

LEAST_CORNERS = 3  # of a radar; fewer classes are bars
WIDTH, HEIGHT = 7.6, 5.4  # inches
CIRCLE = (1.3 / WIDTH, 1.1 / HEIGHT, 3.4 / WIDTH, 3.4 / HEIGHT)  # leaves room for the labels, which no layout sees
LETTERS = 15  # of a class in a line
CHANCE = 0.5  # AUROC
FEW = 3  # lines whose areas are filled
UNSCORED = "#888888"


def draw_radar(
    classes: Sequence[str], values: Mapping[str, Sequence[float | None]], note: str = "", metric: str = "AUROC"
) -> bytes:
    """Draw a line per entry of `values`, such as trained and untrained: a number in 0..1 per class, None if unscored.

    A line has a gap where it has no number, and a class without any is marked. The axis begins a tenth below chance or
    the smallest value, and ends at 1. Fewer than three classes are drawn as bars, from 0.
    """
    if not classes or not values or any(len(numbers) != len(classes) for numbers in values.values()):
        raise EvaluationError("A radar chart needs classes, and a number or None for each of them in every line.")
    lines = {name: np.array(numbers, dtype=float) for name, numbers in values.items()}
    numbers = np.stack(list(lines.values()))
    scored = np.isfinite(numbers)
    figure = Figure(figsize=(WIDTH, HEIGHT), layout=None if len(classes) >= LEAST_CORNERS else "constrained")
    if len(classes) >= LEAST_CORNERS:
        axes = _draw_corners(figure, lines, max(0.0, np.floor(10 * min([CHANCE, *numbers[scored]])) / 10 - 0.1))
    else:
        axes = _draw_bars(figure, lines)
    axes.set_xticklabels(
        [
            _wrap(name) if known else f"{_wrap(name)}:\nnot scored"
            for name, known in zip(classes, scored.any(0), strict=True)
        ]
    )
    for label, known in zip(axes.get_xticklabels(), scored.any(0), strict=True):
        label.set(fontsize=8, color="black" if known else UNSCORED, parse_math=False)
    is_radar = len(classes) >= LEAST_CORNERS
    where: Literal["center right", "outside right center"] = "center right" if is_radar else "outside right center"
    figure.legend(loc=where, fontsize=8, title=f"{metric} (mean)", frameon=False)
    return as_png(figure, note)


def _draw_corners(figure: Figure, lines: Mapping[str, np.ndarray], lowest: float) -> Axes:
    axes = figure.add_axes(CIRCLE, projection="polar", theta_offset=np.pi / 2, theta_direction=-1)
    corners = len(next(iter(lines.values())))
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    circle = np.linspace(0, 2 * np.pi, 200)
    axes.plot(circle, np.full_like(circle, CHANCE), color="grey", linewidth=0.8, linestyle="--", label="chance")
    for index, (name, numbers) in enumerate(lines.items()):
        closed = np.append(angles, 2 * np.pi), np.append(numbers, numbers[0])
        style = style_line(index)
        axes.plot(*closed, **style, linewidth=1.6, marker="o", markersize=3.5, label=_format_label(name, numbers))
        if np.isfinite(numbers).all() and len(lines) <= FEW:
            axes.fill(*closed, color=style["color"], alpha=0.08)
    axes.set(xticks=angles, ylim=(lowest, 1), yticks=np.arange(np.ceil(10 * lowest), 11, 2) / 10)
    axes.tick_params(axis="x", pad=4)
    for label, angle in zip(axes.get_xticklabels(), angles, strict=True):
        side = np.sin(angle)
        label.set_horizontalalignment("center" if abs(side) < 0.1 else "left" if side > 0 else "right")
    axes.tick_params(axis="y", labelsize=7, labelcolor="grey")
    return axes


def _draw_bars(figure: Figure, lines: Mapping[str, np.ndarray]) -> Axes:
    axes = figure.add_subplot()
    width = 0.8 / len(lines)
    places = np.arange(len(next(iter(lines.values()))))
    axes.axhline(CHANCE, color="grey", linewidth=0.8, linestyle="--", label="chance")
    for index, (name, numbers) in enumerate(lines.items()):
        left = places - 0.4 + width * (index + 0.5)
        axes.bar(left, numbers, width, color=COLOURS[index % len(COLOURS)], label=_format_label(name, numbers))
    axes.set(xticks=places, xlim=(-0.6, len(places) - 0.4), ylim=(0, 1))
    return axes


def _wrap(name: str) -> str:
    """A class in lines that fit beside the circle."""
    return textwrap.fill(name, LETTERS, break_long_words=False)


def _format_label(name: str, numbers: np.ndarray) -> str:
    known = numbers[np.isfinite(numbers)]
    return f"{name}: {known.mean():.3f}" if len(known) else f"{name}: not scored"
