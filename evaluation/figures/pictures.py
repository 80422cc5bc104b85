"""Figures of an evaluation as PNG bytes. Matplotlib's global state is not used."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import roc_curve

from evaluation.errors import EvaluationError
from evaluation.metrics.classification import auroc

LETTERS_PER_INCH = 15  # of a note
INLINE_LIMIT = 45_000  # bytes; as base64 it stays below 60 kB
TRUTH = "#37d0ff"
OVERLAY = 0.6  # how much a map covers the image where it is strongest
QUALITIES = (85, 75, 65, 50)
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito's, for every eye
DASHES = ("-", "--", ":", "-.")  # of the lines beyond the colours


def draw_heat_maps(
    pixels: np.ndarray,
    masks: np.ndarray,
    maps: np.ndarray,
    titles: Sequence[str],
    note: str = "",
    across: int = 3,
    inches: float = 2.2,
) -> bytes:
    """Draw two panels per image: the contour of the true mask, and the attention with the contour.

    `pixels` (k, size, size) uint8, `masks` (k, size, size) bool, `maps` (k, grid, grid); `titles` name the
    finding of each; `note` is printed below; a row has `across` pairs. Every map is scaled from its least
    to its largest value.
    """
    if not len(pixels) == len(masks) == len(maps) == len(titles) > 0:
        raise EvaluationError("A figure of heat maps needs as many images, masks, maps and titles, at least one.")
    across = min(across, len(pixels))
    down = -(-len(pixels) // across)
    figure = Figure(figsize=(2 * across * inches, down * (inches + 0.25) + 0.3), layout="constrained")
    panels = figure.subplots(down, 2 * across, squeeze=False).reshape(-1, 2)
    for axes in panels.ravel():
        axes.set_axis_off()
    for (left, right), image, mask, attention, title in zip(panels, pixels, masks, maps, titles, strict=False):
        for axes in (left, right):
            axes.imshow(image, cmap="gray", vmin=0, vmax=255)
            _draw_contour(axes, mask)
        right.imshow(attention, cmap="inferno", alpha=0.5, extent=(-0.5, len(image) - 0.5, len(image) - 0.5, -0.5))
        left.set_title(f"{title}: true outline", fontsize=9)
        right.set_title("attention", fontsize=9)
    return as_png(figure, note)


def draw_overlay(image: np.ndarray, located: np.ndarray) -> bytes:
    """A PNG of an image (rows, columns) uint8 with a map (grid rows, grid columns) over it, in colours.

    The map is scaled from its least to its largest value; what is not finite stays grey.
    """
    height, width = image.shape
    known = np.isfinite(located)
    low, high = (located[known].min(), located[known].max()) if known.any() else (0.0, 0.0)
    levels = np.where(known, (located - low) / (high - low) if high > low else 0.0, 0.0)
    heat = cv2.resize(levels.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR).clip(0, 1)
    colours = cv2.applyColorMap(np.rint(255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)
    grey = np.repeat(image[..., None], 3, axis=2).astype(np.float32)
    share = (OVERLAY * heat)[..., None]
    mixed = (1 - share) * grey + share * colours
    return cv2.imencode(".png", np.rint(mixed).astype(np.uint8))[1].tobytes()


def draw_roc_curves(scores: np.ndarray, labels: np.ndarray, classes: Sequence[str], note: str = "") -> bytes:
    """Draw the ROC curves of all classes that can be scored. The legend names those that cannot."""
    figure = Figure(figsize=(6.8, 4.8), layout="constrained")
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
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", box_aspect=1, xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), title="AUROC", frameon=False)
    return as_png(figure, note)


def style_line(index: int) -> dict[str, Any]:
    """The colour and the dashes of the line `index` of a figure; they repeat after 24 lines."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index // len(COLOURS) % len(DASHES)]}


def shrink(png: bytes, limit: int = INLINE_LIMIT) -> bytes:
    """The same picture as a JPEG of at most `limit` bytes: first at lower quality, then smaller."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    while min(picture.size) > 16:
        for quality in QUALITIES:
            content = _to_jpeg(picture, quality)
            if len(content) <= limit:
                return content
        picture = picture.resize((picture.width * 4 // 5, picture.height * 4 // 5), Image.Resampling.LANCZOS)
    raise EvaluationError(f"No picture fits into {limit} bytes; allow more.")


def data_uri(content: bytes) -> str:
    """A PNG or JPEG as a URI for markdown and HTML."""
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def as_png(figure: Figure, note: str = "") -> bytes:
    """The figure as PNG, with the note below."""
    if note:
        wrapped = textwrap.fill(note, int(figure.get_figwidth() * LETTERS_PER_INCH))
        figure.supxlabel(wrapped, fontsize=8, parse_math=False)
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream)
    return stream.getvalue()


def _draw_contour(axes: Axes, mask: np.ndarray) -> None:
    if mask.any() and not mask.all():
        axes.contour(mask, levels=[0.5], colors=[TRUTH], linewidths=1.2)


def _to_jpeg(picture: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality, optimize=True)
    return stream.getvalue()
