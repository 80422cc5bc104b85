"""Reliability curves: for each finding, how often it is there against how high it is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.errors import EvaluationError
from evaluation.figures.pictures import as_png, style_line

ACROSS = 4  # panels in a row
INCHES = 2.5  # side of a panel

Curve = Sequence[tuple[int, float, float]]  # images, mean score and share with the finding of each bin


def draw_reliability(curves: Mapping[str, Mapping[str, Curve]], note: str = "") -> bytes:
    """A panel for each finding, with a line for each of its curves by name, such as before and after scaling.

    Points are as large as their bins have images. EvaluationError where there is no curve.
    """
    if not curves:
        raise EvaluationError("A figure of reliability needs a finding with a curve.")
    across = min(ACROSS, len(curves))
    down = -(-len(curves) // across)
    figure = Figure(figsize=(max(across, 2) * INCHES, down * INCHES + 0.9), layout="constrained")
    panels: list[Axes] = figure.subplots(down, across, squeeze=False).ravel().tolist()
    for axes in panels[len(curves) :]:
        axes.set_axis_off()
    names = list(dict.fromkeys(name for lines in curves.values() for name in lines))
    for axes, (finding, lines) in zip(panels, curves.items(), strict=False):
        _draw_panel(axes, finding, lines, names)
    handles = [panels[0].plot([], [], marker="o", **style_line(place))[0] for place in range(len(names))]
    figure.legend(handles, names, loc="outside upper center", ncols=len(names), fontsize=8, frameon=False)
    return as_png(figure, note)


def _draw_panel(axes: Axes, finding: str, lines: Mapping[str, Curve], names: Sequence[str]) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    for name, curve in lines.items():
        style = style_line(names.index(name))
        counts, scores, shares = zip(*curve, strict=True)
        axes.plot(scores, shares, linewidth=1.2, **style)
        sizes = [4 + 60 * count / sum(counts) for count in counts]
        axes.scatter(scores, shares, s=sizes, color=style["color"], alpha=0.7)
    axes.set(box_aspect=1, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_title(finding, fontsize=8, parse_math=False)
    axes.set_xlabel("mean score", fontsize=7)
    axes.set_ylabel("share with the finding", fontsize=7)
    axes.tick_params(labelsize=6)
