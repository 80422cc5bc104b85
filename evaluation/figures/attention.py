"""Figures of attention: of the words of a sentence over an image (GLoRIA, MGCA), and of selected regions (LRCLR).

The figures show sentences, and go to MLflow and into metadata. The sentences must be those of this repository
(`evaluation.tasks.text_image_retrieval.read_queries`), never those of a patient's report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from evaluation.errors import EvaluationError, NotAvailableError
from evaluation.figures.pictures import TRUTH, as_png
from evaluation.inference import predict_batches
from models.encoders.fusion.region_selection import SelectedRegions
from models.method import Method

ACROSS = 6  # panels in a row
INCHES = 1.5  # side of a word's panel
REGION_INCHES = 2.6
MOST_ATTENDED = 2  # regions in bold
BOLD, THIN = 3.0, 0.9  # points
HIGHEST = "#ff9d00"


@dataclass(frozen=True)
class WordAttention:
    """The attention of each word of a sentence over an image."""

    images: np.ndarray  # (k, side, side) grey levels, as the network sees them
    words: list[list[str]]  # of each sentence
    maps: np.ndarray  # (k, words, rows, columns)


@dataclass(frozen=True)
class AttendedRegions:
    """Which patches of images were selected, and how much the prompts attend to them."""

    images: np.ndarray  # (k, side, side) grey levels, as the network sees them
    selected: np.ndarray  # (k, rows, columns) bool
    maps: np.ndarray  # (k, prompts, rows, columns) attention, 0 where nothing was selected


def compute_word_attention(method: Method, pixels: np.ndarray, sentences: Sequence[str]) -> WordAttention:
    """Compute the attention of the words of each sentence over its image; `pixels` (k, size, size) uint8.

    Raises NotAvailableError where the method has no attention of words.
    """
    words: list[list[str]] = []

    def predict(images: Tensor) -> tuple[Tensor, Tensor]:
        prediction = method.word_maps(images, sentences)
        words.extend(prediction.words)
        return method.fitted(images)[:, 0], prediction.maps

    seen, maps = predict_batches(method, pixels, predict, batch_size=len(pixels))
    return WordAttention(seen, words, maps)


def compute_selected_regions(method: Method, pixels: np.ndarray, prompts: Sequence[str]) -> AttendedRegions:
    """Compute which regions a network selects and the attention of the prompts; `pixels` (k, size, size) uint8.

    Raises NotAvailableError where the method selects no regions.
    """
    select_regions: Callable[[Tensor, Sequence[str]], SelectedRegions] | None = getattr(
        method, "selected_regions", None
    )
    if select_regions is None:
        raise NotAvailableError(f"{method.called} selects no regions.")

    def predict(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        regions = select_regions(images, prompts)
        rows, columns = regions.grid
        selected = regions.attention.new_zeros(len(images), rows * columns).scatter(1, regions.index, 1.0)
        return method.fitted(images)[:, 0], selected.unflatten(1, regions.grid), regions.maps()

    seen, selected, maps = predict_batches(method, pixels, predict, batch_size=len(pixels))
    return AttendedRegions(seen, selected > 0, maps)


def draw_word_attention(attention: WordAttention, note: str = "", across: int = ACROSS) -> bytes:
    """Draw each image, then each image with the attention of every word. One scale holds for all words of an image."""
    if not attention.words:
        raise EvaluationError("A figure of word attention needs at least one image with a sentence.")
    rows = [-(-(1 + len(words)) // across) for words in attention.words]
    figure = Figure(figsize=(across * INCHES, sum(rows) * (INCHES + 0.25) + 0.4), layout="constrained")
    blocks = np.split(figure.subplots(sum(rows), across, squeeze=False), np.cumsum(rows)[:-1])
    for block, image, words, maps in zip(blocks, attention.images, attention.words, attention.maps, strict=True):
        panels = _hide_axes(block)
        _show_image(panels[0], image, "image")
        for axes, word, found in zip(panels[1:], words, maps, strict=False):
            _show_image(axes, image, word)
            axes.imshow(found, cmap="inferno", alpha=0.5, vmin=0, vmax=maps.max(), extent=_find_extent(image))
    return as_png(figure, note)


def draw_selected_regions(regions: AttendedRegions, titles: Sequence[str], note: str = "", across: int = 3) -> bytes:
    """Draw images with boxes around their selected patches. The two with the highest attention are bold.

    Each image has one prompt, in the same order. `titles` name them.
    """
    count = len(regions.images)
    if not count or len(titles) != count or regions.maps.shape[1] != count:
        raise EvaluationError("A figure of selected regions needs a prompt, and a title, for each image.")
    across = min(across, count)
    down = -(-count // across)
    figure = Figure(figsize=(across * REGION_INCHES, down * (REGION_INCHES + 0.25) + 0.4), layout="constrained")
    panels = _hide_axes(figure.subplots(down, across, squeeze=False))
    for index, (axes, image, title) in enumerate(zip(panels, regions.images, titles, strict=False)):
        _show_image(axes, image, title)
        _draw_boxes(axes, image, regions.selected[index], regions.maps[index, index])
    return as_png(figure, note)


def draw_regions_of_networks(found: Mapping[str, AttendedRegions], titles: Sequence[str], note: str = "") -> bytes:
    """Draw the regions of several networks, a row for each, with the same images in the columns.

    Each image has one prompt, in the same order. `titles` name them.
    """
    if not found or any(len(regions.images) != len(titles) for regions in found.values()) or not titles:
        raise EvaluationError("A figure of selected regions needs networks, and a title for each of their images.")
    size = (len(titles) * REGION_INCHES, len(found) * (REGION_INCHES + 0.25) + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    for row, (name, regions) in zip(
        figure.subplots(len(found), len(titles), squeeze=False), found.items(), strict=True
    ):
        for index, (axes, title) in enumerate(zip(_hide_axes(row), titles, strict=True)):
            _show_image(axes, regions.images[index], f"{name}: {title}")
            _draw_boxes(axes, regions.images[index], regions.selected[index], regions.maps[index, index])
    return as_png(figure, note)


def _hide_axes(axes: np.ndarray) -> list[Axes]:
    """The panels, without frames and ticks."""
    panels: list[Axes] = axes.ravel().tolist()
    for panel in panels:
        panel.set_axis_off()
    return panels


def _show_image(axes: Axes, image: np.ndarray, title: str) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    axes.set_title(title, fontsize=9, parse_math=False)


def _find_extent(image: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = image.shape
    return -0.5, columns - 0.5, rows - 0.5, -0.5


def _draw_boxes(axes: Axes, image: np.ndarray, selected: np.ndarray, attention: np.ndarray) -> None:
    height, width = np.array(image.shape) / selected.shape
    ranks = np.where(selected, attention, -np.inf).ravel().argsort()[::-1].argsort().reshape(selected.shape)
    for row, column in np.argwhere(selected):
        most = ranks[row, column] < MOST_ATTENDED
        corner = column * width - 0.5, row * height - 0.5
        colour, line = (HIGHEST, BOLD) if most else (TRUTH, THIN)
        box = Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=line, zorder=3 if most else 2)
        axes.add_patch(box).set_clip_on(False)
