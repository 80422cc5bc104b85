"""Figures of image embeddings: t-SNE, coloured by label and by the nearest prototype (MGCA, figure 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from evaluation.errors import EvaluationError
from evaluation.figures.pictures import as_png

LARGEST_SAMPLE = 500  # images in a figure; t-SNE takes some 3 s for as many on one core
LEAST_SAMPLE = 5
PERPLEXITY = 30.0  # scikit-learn's default; t-SNE needs more images than that
COMPONENTS = 50  # to which wide vectors are reduced first (van der Maaten and Hinton 2008, section 4.2)
NAMED = 8  # prototypes with a colour of their own
NO_GROUP = -1
REST = "#c8c8c8"


@dataclass(frozen=True)
class Groups:
    """The groups that images are coloured by."""

    title: str
    names: tuple[str, ...]
    members: np.ndarray  # (n,) index into the names, or NO_GROUP
    rest: str  # what images of no group are called


def group_by_label(labels: np.ndarray, classes: Sequence[str]) -> Groups:
    """Group images by their only class; `labels` (n, classes) are 1/0/-1/nan. Others have none or several classes."""
    present = labels == 1
    alone = present.sum(axis=1) == 1
    return Groups("by label", tuple(classes), np.where(alone, present.argmax(axis=1), NO_GROUP), "none or several")


def group_by_prototype(vectors: np.ndarray, prototypes: np.ndarray, named: int = NAMED) -> Groups:
    """Group images (n, dim) by their nearest prototype (prototypes, dim) by cosine; the most frequent are `named`."""
    nearest = (_normalise(vectors) @ _normalise(prototypes).T).argmax(axis=1)
    counts = np.bincount(nearest, minlength=len(prototypes))
    frequent = np.argsort(-counts, kind="stable")[:named]
    frequent = frequent[counts[frequent] > 0]
    places = np.full(len(prototypes), NO_GROUP)
    places[frequent] = np.arange(len(frequent))
    others = np.count_nonzero(counts) - len(frequent)
    names = tuple(f"prototype {index}" for index in frequent)
    return Groups("by nearest prototype", names, places[nearest], f"{others} other prototypes")


def draw_embeddings(
    vectors: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    prototypes: np.ndarray | None = None,
    note: str = "",
    seed: int = 0,
    largest: int = LARGEST_SAMPLE,
) -> bytes:
    """t-SNE of the vectors (n, dim) of images with `labels` (n, classes), a panel by label and one by prototype.

    At most `largest` images are drawn, chosen at random. t-SNE keeps neighbours only: the place, size and distance of
    clusters mean little.
    """
    if len(vectors) != len(labels) or len(vectors) < LEAST_SAMPLE:
        raise EvaluationError(
            f"A figure of embeddings needs labels for each of at least {LEAST_SAMPLE} images, not {len(labels)} for "
            f"{len(vectors)}."
        )
    rows = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:largest])
    vectors, labels = vectors[rows], labels[rows]
    colourings = [group_by_label(labels, classes)]
    if prototypes is not None:
        colourings.append(group_by_prototype(vectors, prototypes))
    points = reduce_to_plane(vectors, seed)
    figure = Figure(figsize=(5.6 * len(colourings), 4.2), layout="constrained")
    for axes, groups in zip(figure.subplots(1, len(colourings), squeeze=False)[0], colourings, strict=True):
        _draw_points(axes, points, groups)
    return as_png(figure, note)


def draw_embeddings_of_networks(
    vectors: Mapping[str, np.ndarray],
    labels: np.ndarray,
    classes: Sequence[str],
    note: str = "",
    seed: int = 0,
    largest: int = LARGEST_SAMPLE,
) -> bytes:
    """t-SNE of the same images by several networks, a panel for each.

    `vectors` (n, dim) are by the name of the network, `labels` (n, classes) are those of the images. At most `largest`
    images are drawn, chosen at random, as in `draw_embeddings`.
    """
    if not vectors or any(len(found) != len(labels) for found in vectors.values()) or len(labels) < LEAST_SAMPLE:
        raise EvaluationError(
            f"A figure of embeddings needs vectors of each network for at least {LEAST_SAMPLE} labelled images."
        )
    rows = np.sort(np.random.default_rng(seed).permutation(len(labels))[:largest])
    groups = group_by_label(labels[rows], classes)
    figure = Figure(figsize=(5.6 * len(vectors), 4.2), layout="constrained")
    for axes, (name, found) in zip(figure.subplots(1, len(vectors), squeeze=False)[0], vectors.items(), strict=True):
        _draw_points(axes, reduce_to_plane(found[rows], seed), replace(groups, title=f"{name}, by label"))
    return as_png(figure, note)


def reduce_to_plane(vectors: np.ndarray, seed: int = 0) -> np.ndarray:
    """(n, 2) t-SNE of vectors (n, dim), by cosine, the same for the same seed."""
    directions = _normalise(vectors)
    directions = PCA(min(COMPONENTS, *directions.shape), random_state=seed).fit_transform(directions)
    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    placed: np.ndarray = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1).fit_transform(directions)
    return placed


def _draw_points(axes: Axes, points: np.ndarray, groups: Groups) -> None:
    palette = _choose_palette(len(groups.names))
    for index in (NO_GROUP, *range(len(groups.names))):
        chosen = points[groups.members == index]
        name = groups.rest if index == NO_GROUP else groups.names[index]
        colour = REST if index == NO_GROUP else palette[index % len(palette)]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=9, linewidths=0, color=colour, label=f"{name} ({len(chosen)})")
    axes.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    axes.set_title(f"t-SNE of {len(points)} images, {groups.title}", fontsize=9)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, markerscale=2)


def _choose_palette(count: int) -> np.ndarray:
    """(colours, 4) of matplotlib's palettes, without the greys."""
    palette = colormaps["tab10" if count < 10 else "tab20"]
    colours = np.array(palette(np.arange(palette.N)))
    return colours[np.ptp(colours[:, :3], axis=1) > 0]


def _normalise(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, where=lengths > 0, out=np.zeros(vectors.shape))
