"""The curve of a training. Importing matplotlib takes a second, so functions import it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any


def loss_curve(lines: Sequence[Mapping[str, Any]]) -> bytes:
    """The losses of a training over its steps, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3), dpi=80, layout="constrained")
    axes = figure.subplots()
    names = sorted({name for line in lines for name in line["metrics"] if "loss" in name})
    for name in names:
        points = [(line["step"], line["metrics"][name]) for line in lines if name in line["metrics"]]
        axes.plot(*zip(*points, strict=True), label=name.removeprefix("train/"), linewidth=1)
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    if names:
        axes.legend()
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
