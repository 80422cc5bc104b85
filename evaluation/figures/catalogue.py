"""Pictures of what a network says about a cohort: small in Dagster's metadata, whole as files and in MLflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg
import numpy as np

from assets import previews
from evaluation.dataset import entities_of
from evaluation.errors import NotAvailableError
from evaluation.predictions import Network
from tracking.tracker import Tracker

PICTURED = 6  # radiographs in the picture of heat maps
ATTENDED = 3  # radiographs in a picture of attention
EMBEDDED = 300  # films in a picture of embeddings
CORNERS = 3  # classes from which on there is a radar chart

Networks = Mapping[str, Network]  # trained and untrained
Drawing = Callable[[Networks, str], bytes]  # a PNG over a note; empty: nothing to draw


def attached(networks: Networks, tasks: Sequence[str], tracker: Tracker, anew: bool) -> dict[str, Any]:
    """The pictures that belong to the tasks, kept beside the weights and logged; metadata by name.

    They are drawn where they are not there yet and, with `anew`, because numbers were measured.
    """
    from evaluation.results.text_tables import SIMULATION_NOTE

    network = networks["trained"]
    workspace = network.cohort.workspace
    note = SIMULATION_NOTE if workspace.shows_simulation() else ""
    metadata: dict[str, Any] = {}
    for name, (task, draw) in DRAWINGS.items():
        if task not in tasks:
            continue
        path = workspace.home_path() / network.run.output / "pictures" / workspace.cohort_name() / f"{name}.png"
        if path.exists() and not anew:
            metadata[name.replace("_", " ")] = previews.picture(path.read_bytes(), name)
            continue
        try:
            png = draw(networks, note)
        except NotAvailableError:
            continue  # the task itself says so
        except Exception as error:  # the numbers are there: a picture that cannot be drawn must not take them away
            metadata[name.replace("_", " ")] = dg.MetadataValue.text(f"not drawn: {type(error).__name__}")
            network.log(f"The picture {name} of {workspace.cohort_name()} was not drawn: {type(error).__name__}.")
            continue
        if png:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png)
            tracker.log_file(path, f"pictures/{workspace.cohort_name()}")
            metadata[name.replace("_", " ")] = previews.picture(png, name)
    return metadata


def _roc_curves(networks: Networks, note: str) -> bytes:
    from evaluation.figures.pictures import roc_curves

    network = networks["trained"]
    test = network.examine("test")
    return roc_curves(test.answers.scores, test.truth.labels, network.classes, note) if len(network.classes) else b""


def _radar(networks: Networks, note: str) -> bytes:
    """AUROC of every class, trained and untrained."""
    from evaluation.figures.radar import radar
    from evaluation.metrics.classification import auroc

    classes = networks["trained"].classes
    if len(classes) < CORNERS:
        return b""
    areas = {}
    for weights, network in networks.items():
        test = network.examine("test")
        found = [auroc(test.truth.labels[:, c], test.answers.scores[:, c]) for c in range(len(classes))]
        areas[weights] = [None if np.isnan(area) else area for area in found]
    scored = [area for values in areas.values() for area in values if area is not None]
    return radar(classes, areas, note) if scored else b""


def _embeddings(networks: Networks, note: str) -> bytes:
    """The test films, by label and, for methods that have prototypes, by prototype."""
    from cohorts.labels import label_names
    from evaluation.figures.embeddings import LEAST_SAMPLE, embeddings

    network = networks["trained"]
    films = network.cohort.films("test")
    names = list(network.cohort.protocol.labels) or label_names(films.labels)
    if len(films) < LEAST_SAMPLE or not names:
        return b""
    prototypes = getattr(network.method, "prototypes", None)
    vectors = network.features(films) if prototypes is None else network.embeddings(films)
    known = None if prototypes is None else prototypes.weight.detach().cpu().numpy()
    labels = network.cohort.label_values(films, names)
    return embeddings(vectors, labels, names, known, note, largest=EMBEDDED)


def _word_attention(networks: Networks, note: str) -> bytes:
    """Where the words of our own sentences look: those of reports are patients' and stay where they are."""
    from evaluation.figures.attention import look_for_words, word_attention

    network = networks["trained"]
    films, sentences, _ = _asked_films(network)
    return word_attention(look_for_words(network.method, films, sentences), note) if len(films) else b""


def _selected_regions(networks: Networks, note: str) -> bytes:
    from evaluation.figures.attention import look_at_regions, selected_regions

    network = networks["trained"]
    films, sentences, labels = _asked_films(network)
    return selected_regions(look_at_regions(network.method, films, sentences), labels, note) if len(films) else b""


def _asked_films(network: Network) -> tuple[np.ndarray, list[str], list[str]]:
    """The first test film (k, size, size) of some labels that there is a sentence for, the sentences, the labels."""
    from evaluation.tasks.text_image_retrieval import categories_of, read_queries

    categories = categories_of(entities_of(network.cohort.questions))
    films = network.cohort.films("test")
    values = network.cohort.label_values(films, list(categories)) == 1
    found = [(place, label) for place, label in enumerate(categories) if values[:, place].any()][:ATTENDED]
    rows = np.array([values[:, place].argmax() for place, _ in found], np.int64)
    pixels = network.cohort.pixels(films)[rows] if len(rows) else np.empty((0, 1, 1), np.uint8)
    return pixels, [read_queries()[categories[label]][0] for _, label in found], [label for _, label in found]


def _heat_maps(networks: Networks, note: str) -> bytes:
    """The first test radiograph of each class that has a mask."""
    from evaluation.figures.pictures import heat_maps

    network = networks["trained"]
    test, classes = network.examine("test"), network.classes
    masks = test.truth.masks
    if not len(masks):
        return b""
    _, chosen = np.unique(masks.columns, return_index=True)
    chosen = chosen[:PICTURED]
    rows, columns = masks.rows[chosen], masks.columns[chosen]
    return heat_maps(
        network.cohort.pixels(network.cohort.films("test"))[rows],
        masks.pixels[chosen],
        test.answers.maps[rows, columns],
        [classes[column] for column in columns],
        note,
    )


DRAWINGS: dict[str, tuple[str, Drawing]] = {  # name -> the task it belongs to, and who draws it
    "roc_curves": ("zero_shot_classification", _roc_curves),
    "radar": ("zero_shot_classification", _radar),
    "heat_maps": ("zero_shot_grounding", _heat_maps),
    "selected_regions": ("zero_shot_grounding", _selected_regions),
    "word_attention": ("text_image_retrieval", _word_attention),
    "embeddings": ("linear_probe", _embeddings),
}
