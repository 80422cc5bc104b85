"""Pictures of what a network looks at: the words of a sentence in a film (GLoRIA, MGCA), and selected regions (LRCLR).

Sentences stand in the pictures, and pictures go to MLflow and into metadata. They are to be our own
(`evaluation.tasks.text_image_retrieval.read_queries`), never those of a patient's report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from evaluation.errors import EvaluationError, NotAvailableError
from evaluation.figures.pictures import TRUTH, as_png
from evaluation.inference import predict_batches
from models.encoders.region_selection import SelectedRegions
from models.method import Method

ACROSS = 6  # panels in a row
INCHES = 1.5  # side of a word's panel
REGION_INCHES = 2.6
MOST_ATTENDED = 2  # regions in bold
BOLD, THIN = 3.0, 0.9  # points
HIGHEST = "#ff9d00"


@dataclass(frozen=True)
class WordAttention:
    """Where each word of a sentence looks in a film."""

    films: np.ndarray  # (k, side, side) grey levels, as the network sees them
    words: list[list[str]]  # of each sentence
    maps: np.ndarray  # (k, words, rows, columns)


@dataclass(frozen=True)
class AttendedRegions:
    """Which patches of films were selected, and how much the prompts attend to them."""

    films: np.ndarray  # (k, side, side) grey levels, as the network sees them
    selected: np.ndarray  # (k, rows, columns) bool
    maps: np.ndarray  # (k, prompts, rows, columns) attention, 0 where nothing was selected


def look_for_words(method: Method, films: np.ndarray, sentences: Sequence[str]) -> WordAttention:
    """Ask a network where the words of each sentence look in its film, of films (k, size, size) uint8.

    NotAvailableError where the method has no attention of words.
    """
    words: list[list[str]] = []

    def question(images: Tensor) -> tuple[Tensor, Tensor]:
        answer = method.word_maps(images, sentences)
        words.extend(answer.words)
        return method.fitted(images)[:, 0], answer.maps

    seen, maps = predict_batches(method, films, question, batch_size=len(films))
    return WordAttention(seen, words, maps)


def look_at_regions(method: Method, films: np.ndarray, prompts: Sequence[str]) -> AttendedRegions:
    """Ask a network which regions of films (k, size, size) uint8 it selects, and how the prompts attend to them.

    NotAvailableError where the method selects none.
    """
    ask_regions: Callable[[Tensor, Sequence[str]], SelectedRegions] | None = getattr(method, "selected_regions", None)
    if ask_regions is None:
        raise NotAvailableError(f"{type(method).__name__} selects no regions.")

    def question(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        regions = ask_regions(images, prompts)
        rows, columns = regions.grid
        selected = regions.attention.new_zeros(len(images), rows * columns).scatter(1, regions.index, 1.0)
        return method.fitted(images)[:, 0], selected.unflatten(1, regions.grid), regions.maps()

    seen, selected, maps = predict_batches(method, films, question, batch_size=len(films))
    return AttendedRegions(seen, selected > 0, maps)


def word_attention(attention: WordAttention, note: str = "", across: int = ACROSS) -> bytes:
    """For every film a panel without and one for each word with its attention, all words stretched alike per film."""
    if not attention.words:
        raise EvaluationError("A picture of the attention of words needs at least one film with a sentence.")
    rows = [-(-(1 + len(words)) // across) for words in attention.words]
    figure = Figure(figsize=(across * INCHES, sum(rows) * (INCHES + 0.25) + 0.4), layout="constrained")
    blocks = np.split(figure.subplots(sum(rows), across, squeeze=False), np.cumsum(rows)[:-1])
    for block, film, words, maps in zip(blocks, attention.films, attention.words, attention.maps, strict=True):
        panels = _panels(block)
        _film(panels[0], film, "film")
        for axes, word, found in zip(panels[1:], words, maps, strict=False):
            _film(axes, film, word)
            axes.imshow(found, cmap="inferno", alpha=0.5, vmin=0, vmax=maps.max(), extent=_extent(film))
    return as_png(figure, note)


def selected_regions(regions: AttendedRegions, titles: Sequence[str], note: str = "", across: int = 3) -> bytes:
    """Films with boxes around their selected patches, the two that the prompt attends to most in bold.

    There is a prompt for each film, in the same order; `titles` name them.
    """
    count = len(regions.films)
    if not count or len(titles) != count or regions.maps.shape[1] != count:
        raise EvaluationError("A picture of selected regions needs a prompt, and a title, for each film.")
    across = min(across, count)
    down = -(-count // across)
    figure = Figure(figsize=(across * REGION_INCHES, down * (REGION_INCHES + 0.25) + 0.4), layout="constrained")
    panels = _panels(figure.subplots(down, across, squeeze=False))
    for index, (axes, film, title) in enumerate(zip(panels, regions.films, titles, strict=False)):
        _film(axes, film, title)
        _boxes(axes, film, regions.selected[index], regions.maps[index, index])
    return as_png(figure, note)


def _panels(axes: np.ndarray) -> list[Axes]:
    """Without frames and ticks."""
    panels: list[Axes] = axes.ravel().tolist()
    for panel in panels:
        panel.set_axis_off()
    return panels


def _film(axes: Axes, film: np.ndarray, title: str) -> None:
    axes.imshow(film, cmap="gray", vmin=0, vmax=255)
    axes.set_title(title, fontsize=9, parse_math=False)


def _extent(film: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = film.shape
    return -0.5, columns - 0.5, rows - 0.5, -0.5


def _boxes(axes: Axes, film: np.ndarray, selected: np.ndarray, attention: np.ndarray) -> None:
    height, width = np.array(film.shape) / selected.shape
    ranks = np.where(selected, attention, -np.inf).ravel().argsort()[::-1].argsort().reshape(selected.shape)
    for row, column in np.argwhere(selected):
        most = ranks[row, column] < MOST_ATTENDED
        corner = column * width - 0.5, row * height - 0.5
        colour, line = (HIGHEST, BOLD) if most else (TRUTH, THIN)
        box = Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=line, zorder=3 if most else 2)
        axes.add_patch(box).set_clip_on(False)
