"""Pictures of an evaluation as PNG bytes, drawn without matplotlib's global state."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import roc_curve

from evaluation.errors import EvaluationError
from evaluation.metrics import auroc

INLINE_LIMIT = 45_000  # bytes; as base64 it stays below 60 kB
TRUTH = "#37d0ff"
QUALITIES = (85, 75, 65, 50)


def heat_maps(
    pixels: np.ndarray,
    masks: np.ndarray,
    maps: np.ndarray,
    titles: Sequence[str],
    note: str = "",
    inches: float = 3.2,
) -> bytes:
    """A row per radiograph: the true mask's contour on the left, the attention over it on the right.

    `pixels` (k, size, size) uint8, `masks` (k, size, size) bool, `maps` (k, grid, grid); `titles` name the
    finding of each row; `note` stands below all of them. Every map is stretched from its least to its largest
    value.
    """
    if not len(pixels) == len(masks) == len(maps) == len(titles) > 0:
        raise EvaluationError(
            "A heat map picture needs as many images, masks, maps and titles, at least one."
        )
    figure = Figure(figsize=(2 * inches, inches * len(pixels) + 0.4), layout="constrained")
    axes = figure.subplots(len(pixels), 2, squeeze=False)
    for (left, right), image, mask, attention, title in zip(axes, pixels, masks, maps, titles, strict=True):
        for panel in (left, right):
            _radiograph(panel, image)
            _contour(panel, mask)
        size = len(image)
        right.imshow(attention, cmap="inferno", alpha=0.5, extent=(-0.5, size - 0.5, size - 0.5, -0.5))
        left.set_title(f"{title}: true outline", fontsize=8)
        right.set_title("attention", fontsize=8)
    return _png(figure, note)


def roc_curves(scores: np.ndarray, labels: np.ndarray, classes: Sequence[str], note: str = "") -> bytes:
    """ROC curves of all classes that can be scored; the legend says which cannot."""
    figure = Figure(figsize=(6.4, 5.0), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    for column, name in enumerate(classes):
        known = ~np.isnan(labels[:, column])
        area = auroc(labels[:, column], scores[:, column])
        if np.isnan(area):
            axes.plot([], [], " ", label=f"{name}: not scored")
            continue
        false_rate, true_rate, _ = roc_curve(labels[known, column], scores[known, column])
        axes.plot(false_rate, true_rate, linewidth=1.4, label=f"{name}: {area:.3f}")
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", aspect="equal", xlim=(0, 1), ylim=(0, 1.005))
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), title="AUROC", frameon=False)
    return _png(figure, note)


def shrink(png: bytes, limit: int = INLINE_LIMIT) -> bytes:
    """The same picture as a JPEG of at most `limit` bytes: first at lower quality, then smaller."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    while min(picture.size) > 16:
        for quality in QUALITIES:
            content = _jpeg(picture, quality)
            if len(content) <= limit:
                return content
        picture = picture.resize((picture.width * 4 // 5, picture.height * 4 // 5), Image.Resampling.LANCZOS)
    raise EvaluationError(f"No picture fits into {limit} bytes; allow more.")


def data_uri(content: bytes) -> str:
    """A PNG or JPEG as a URI for markdown and HTML."""
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _radiograph(axes: Axes, image: np.ndarray) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()


def _contour(axes: Axes, mask: np.ndarray) -> None:
    if mask.any() and not mask.all():
        axes.contour(mask, levels=[0.5], colors=[TRUTH], linewidths=1.2)


def _png(figure: Figure, note: str) -> bytes:
    if note:
        figure.supxlabel(note, fontsize=7, wrap=True)
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream)
    return stream.getvalue()


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality, optimize=True)
    return stream.getvalue()
