"""Differences between groups as points with intervals, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from evaluation.errors import EvaluationError
from evaluation.figures.pictures import COLOURS, as_png


@dataclass(frozen=True)
class Bar:
    """A difference with its interval, and whether it is found after the correction."""

    name: str
    difference: float
    low: float
    high: float
    found: bool


def draw_gaps(bars: Sequence[Bar], label: str, note: str = "") -> bytes:
    """Draw the differences in their order from above; `label` names their scale. EvaluationError for none."""
    if not bars:
        raise EvaluationError("A figure of gaps needs a difference.")
    figure = Figure(figsize=(7.2, 0.24 * len(bars) + 1.0), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color="grey", linewidth=0.8, linestyle="--")
    for place, bar in enumerate(bars):
        colour = COLOURS[1] if bar.found else COLOURS[0]
        axes.plot([bar.low, bar.high], [place, place], color=colour, linewidth=1.4)
        axes.plot([bar.difference], [place], marker="D" if bar.found else "o", markersize=4, color=colour)
    axes.set_yticks(range(len(bars)), [bar.name for bar in bars], fontsize=7, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel(label, fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    return as_png(figure, note)
