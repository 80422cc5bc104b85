"""ROC curves of several methods, a panel for each class, as in MedKLIP's figures of zero-shot classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from evaluation.errors import EvaluationError
from evaluation.figures.pictures import as_png, style_line
from evaluation.metrics.classification import auroc, is_scorable

ACROSS = 4  # panels in a row
INCHES = 2.6  # side of a panel


def draw_roc_panels(
    scores: Mapping[str, np.ndarray], labels: np.ndarray, classes: Sequence[str], note: str = ""
) -> bytes:
    """Draw the curves of the methods by class. The legend has the mean AUROC of each method.

    `scores` (images, classes) by method and `labels` (images, classes) 1, 0 or nan are of the same images. Classes of
    which only one label occurs have no panel. EvaluationError where no class is left.
    """
    scored = [column for column in range(len(classes)) if is_scorable(labels[:, column])]
    if not scores or not scored or any(found.shape != labels.shape for found in scores.values()):
        raise EvaluationError("ROC curves of methods need scores of the same images, and a class with both labels.")
    across = min(ACROSS, len(scored))
    down = -(-len(scored) // across)
    height = down * (INCHES + 0.1) + 0.25 * -(-len(scores) // across) + 0.8
    figure = Figure(figsize=(across * INCHES, height), layout="constrained")
    panels: list[Axes] = figure.subplots(down, across, squeeze=False).ravel().tolist()
    for axes in panels[len(scored) :]:
        axes.set_axis_off()
    for axes, column in zip(panels, scored, strict=False):
        _draw_panel(
            axes, classes[column], labels[:, column], {name: found[:, column] for name, found in scores.items()}
        )
    means = [np.mean([auroc(labels[:, column], found[:, column]) for column in scored]) for found in scores.values()]
    names = [f"{name}: {mean:.3f}" for name, mean in zip(scores, means, strict=True)]
    lines = panels[0].get_lines()[1:]
    figure.legend(
        lines, names, loc="outside upper center", ncols=across, fontsize=8, title="AUROC (mean)", frameon=False
    )
    return as_png(figure, note)


def _draw_panel(axes: Axes, title: str, labels: np.ndarray, scores: Mapping[str, np.ndarray]) -> None:
    known = ~np.isnan(labels)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    for index, found in enumerate(scores.values()):
        false_rate, true_rate, _ = roc_curve(labels[known], found[known])
        axes.plot(false_rate, true_rate, linewidth=1.3, **style_line(index))
    axes.set(box_aspect=1, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.set_title(f"{title} ({np.count_nonzero(labels == 1)})", fontsize=8, parse_math=False)
    axes.set_xlabel("1 - specificity", fontsize=7)
    axes.set_ylabel("sensitivity", fontsize=7)
    axes.tick_params(labelsize=6)
