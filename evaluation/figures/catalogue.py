"""Draws the figures of a network for a dataset. They are kept as files beside the weights and logged with the run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evaluation.dataset import entities_of
from evaluation.errors import NotAvailableError
from evaluation.predictions import Predictions
from store.errors import DamageError
from store.seals import expect_intact, is_sealed, sealing

if TYPE_CHECKING:
    from evaluation.evaluator import Tracker

PICTURED = 6  # radiographs in the figure of heat maps
ATTENDED = 3  # radiographs in a figure of attention
EMBEDDED = 300  # images in a figure of embeddings
EMBEDDED_BY_PAPERS = 1600  # of MGCA and of CheXpert 8x200 (ConVIRT)
EMBEDDINGS = "embeddings"
CORNERS = 3  # classes from which on there is a radar chart

Networks = Mapping[str, Predictions]  # trained and untrained
Drawing = Callable[[Networks, str], bytes]  # returns a PNG with a note, or nothing where there is nothing to draw


def draw_figures(
    predictions: Networks,
    names: Sequence[str],
    tracker: Tracker | None = None,
    anew: bool = True,
    embedded: int = EMBEDDED,
) -> dict[str, bytes | str]:
    """The figures by name, as PNG, or a sentence where a figure could not be drawn.

    A figure is drawn where its file is missing. With `anew`, all are drawn. `embedded` is the most images in a figure
    of embeddings; another number than the usual one is in the name of the file.
    """
    from evaluation.results.text_tables import SIMULATION_NOTE

    network = predictions["trained"]
    workspace = network.dataset.workspace
    cohort, note = workspace.cohort_name(), SIMULATION_NOTE if workspace.shows_simulation() else ""
    figures: dict[str, bytes | str] = {}
    for name in names:
        drawing, file = DRAWINGS[name], name
        if name == EMBEDDINGS and embedded != EMBEDDED:
            drawing, file = functools.partial(_draw_embeddings, embedded=embedded), f"{name}_{embedded}"
        path = workspace.home_path() / network.run.output / "pictures" / cohort / f"{file}.png"
        kept = _read_picture(path, network.log)
        if kept and not anew:
            figures[name] = kept
            continue
        try:
            png = drawing(predictions, note)
        except NotAvailableError:
            continue  # the result of the task says so
        except Exception as error:  # a figure that cannot be drawn must not take the numbers away
            figures[name] = f"not drawn: {type(error).__name__}"
            network.log(f"The figure {name} of {cohort} was not drawn: {type(error).__name__}.")
            continue
        if png:
            with sealing(path) as partial:
                partial.write_bytes(png)
            if tracker:
                _track(tracker, path, f"pictures/{cohort}", network.log)
            figures[name] = png
    return figures


def _read_picture(path: Path, log: Callable[[str], object]) -> bytes:
    """A figure that was drawn before; empty where there is none, or a damaged one."""
    if not path.exists() and not is_sealed(path):
        return b""
    try:
        return expect_intact(path, "it is drawn again.").read_bytes()
    except DamageError as error:
        log(str(error))
        return b""


def _track(tracker: Tracker, path: Path, folder: str, log: Callable[[str], object]) -> None:
    """Copy a figure to the run in MLflow, where that works."""
    try:
        tracker.log_file(path, folder)
    except Exception as error:  # the figure is in its file: nothing that happens to MLflow may end this
        log(f"MLflow did not take the figure {path.name} ({type(error).__name__}); it is {path}.")


def _draw_roc_curves(networks: Networks, note: str) -> bytes:
    from evaluation.figures.pictures import draw_roc_curves

    network = networks["trained"]
    scores, labels, classes = network.zero_shot("test").scores, _read_labels(network), network.dataset.query_labels
    return draw_roc_curves(scores, labels, classes, note) if classes else b""


def _draw_radar(networks: Networks, note: str) -> bytes:
    """AUROC of every class, trained and untrained."""
    from evaluation.figures.radar import draw_radar
    from evaluation.metrics.classification import auroc

    classes = networks["trained"].dataset.query_labels
    if len(classes) < CORNERS:
        return b""
    areas = {}
    for weights, network in networks.items():
        scores, labels = network.zero_shot("test").scores, _read_labels(network)
        found = [auroc(labels[:, c], scores[:, c]) for c in range(len(classes))]
        areas[weights] = [None if np.isnan(area) else area for area in found]
    scored = [area for values in areas.values() for area in values if area is not None]
    return draw_radar(classes, areas, note) if scored else b""


def _draw_embeddings(networks: Networks, note: str, embedded: int = EMBEDDED) -> bytes:
    """The test images, by label and, for methods that have prototypes, by prototype."""
    from cohorts.labels import label_names
    from evaluation.figures.embeddings import LEAST_SAMPLE, draw_embeddings

    network = networks["trained"]
    images = network.dataset.images("test")
    names = list(network.dataset.facts.classes) or label_names(images.labels)
    if len(images) < LEAST_SAMPLE or not names:
        return b""
    prototypes = getattr(network.method, "prototypes", None)
    vectors = network.features(images) if prototypes is None else network.embeddings(images)
    known = None if prototypes is None else prototypes.weight.detach().cpu().numpy()
    labels = network.dataset.label_values(images, names)
    return draw_embeddings(vectors, labels, names, known, note, largest=embedded)


def _draw_word_attention(networks: Networks, note: str) -> bytes:
    """Word attention for our own sentences. Sentences of reports are patients' data and are never shown."""
    from evaluation.figures.attention import compute_word_attention, draw_word_attention

    network = networks["trained"]
    pixels, sentences, _ = find_examples(network)
    return draw_word_attention(compute_word_attention(network.method, pixels, sentences), note) if len(pixels) else b""


def _draw_selected_regions(networks: Networks, note: str) -> bytes:
    from evaluation.figures.attention import compute_selected_regions, draw_selected_regions

    network = networks["trained"]
    pixels, sentences, labels = find_examples(network)
    return (
        draw_selected_regions(compute_selected_regions(network.method, pixels, sentences), labels, note)
        if len(pixels)
        else b""
    )


def find_examples(network: Predictions) -> tuple[np.ndarray, list[str], list[str]]:
    """The first test image (k, size, size) of some labels that there is a sentence for, the sentences, the labels."""
    from evaluation.tasks.text_image_retrieval import categories_of, read_queries

    categories = categories_of(entities_of(network.dataset.queries))
    images = network.dataset.images("test")
    values = network.dataset.label_values(images, list(categories)) == 1
    found = [(place, label) for place, label in enumerate(categories) if values[:, place].any()][:ATTENDED]
    rows = np.array([values[:, place].argmax() for place, _ in found], np.int64)
    pixels = images.pixels[rows] if len(rows) else np.empty((0, 1, 1), np.uint8)
    return pixels, [read_queries()[categories[label]][0] for _, label in found], [label for _, label in found]


def _draw_heat_maps(networks: Networks, note: str) -> bytes:
    """The first test radiograph of each class that has a mask."""
    from evaluation.figures.pictures import draw_heat_maps

    network = networks["trained"]
    maps, classes = network.zero_shot("test").maps, network.dataset.query_labels
    masks = network.dataset.masks("test", classes)
    if not len(masks):
        return b""
    _, chosen = np.unique(masks.columns, return_index=True)
    chosen = chosen[:PICTURED]
    rows, columns = masks.rows[chosen], masks.columns[chosen]
    return draw_heat_maps(
        network.dataset.images("test").pixels[rows],
        masks.pixels[chosen],
        maps[rows, columns],
        [classes[column] for column in columns],
        note,
    )


def _read_labels(network: Predictions) -> np.ndarray:
    """(test images, labels of zero-shot tasks) 1 present, 0 absent, nan unknown."""
    dataset = network.dataset
    return dataset.label_values(dataset.images("test"), dataset.query_labels)


DRAWINGS: dict[str, Drawing] = {  # by the names that tasks have for their figures
    "roc_curves": _draw_roc_curves,
    "radar": _draw_radar,
    "heat_maps": _draw_heat_maps,
    "selected_regions": _draw_selected_regions,
    "word_attention": _draw_word_attention,
    EMBEDDINGS: _draw_embeddings,
}
