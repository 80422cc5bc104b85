"""Figures of methods against methods on one dataset, from the results and predictions that a home holds.

They are MedKLIP's radar and ROC curves of several methods, LRCLR's bars per class and its regions beside CheXzero's,
and ConVIRT's embeddings beside those of an ImageNet network. Figures of one network are in `catalogue`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np

from cohorts.labels import label_names
from cohorts.registry import dataset as facts_of
from cohorts.registry import reader_module
from evaluation.dataset import EvaluationDataset
from evaluation.errors import EvaluationError
from evaluation.figures.attention import compute_selected_regions, draw_regions_of_networks
from evaluation.figures.catalogue import EMBEDDED_BY_PAPERS, find_examples
from evaluation.figures.differences import compare_classes, draw_differences
from evaluation.figures.embeddings import LEAST_SAMPLE, draw_embeddings_of_networks
from evaluation.figures.radar import draw_radar
from evaluation.figures.roc_panels import draw_roc_panels
from evaluation.metrics.values import MACRO, ZERO_SHOT
from evaluation.predictions import WEIGHTS, Predictions
from evaluation.results.files import MEASURED
from evaluation.results.summary import OUTDATED, UNTRAINED, Row
from evaluation.results.text_tables import SIMULATION_NOTE
from ingestion.workspace import Workspace, member_of
from models.registry import evaluated_names
from store.errors import UserError
from tracking.runs import known_runs

TASK = "zero_shot_classification"
SELECTING = ("lrclr", "chexzero")  # whose regions and AUROCs are compared (LRCLR, figures 3 and 5)
EMBEDDING = ("imagenet", "convirt")  # whose embeddings are compared (ConVIRT's slides)

Say = Callable[[str], object]


@dataclass(frozen=True)
class MethodFigure:
    """A picture of several methods."""

    name: str  # of its file
    title: str
    png: bytes


@dataclass(frozen=True)
class StoredNetworks:
    """The trained networks of a home, and what is stored of them on one dataset."""

    dataset: EvaluationDataset
    rows: Sequence[Row]  # measured on the dataset without a label, by trained networks
    predictions: Mapping[str, Predictions]  # by the name of the run; of several seeds the lowest
    embedded: int = EMBEDDED_BY_PAPERS

    @property
    def cohort(self) -> str:
        """The dataset's name."""
        return self.dataset.workspace.cohort_name()

    @property
    def scored(self) -> list[str]:
        """The networks with numbers of zero-shot classification, by name."""
        names = {row["method"] for row in self.rows if row["class"] == MACRO and row["value"] is not None}
        return sorted(names & set(self.predictions))

    def choose(self, method: str) -> Predictions:
        """The network of a method, or of its first variant; EvaluationError where there is none."""
        return self.predictions[self.name_of(method)]

    def name_of(self, method: str) -> str:
        """What results call that network: a figure names the one it shows, such as a variant or released weights."""
        found = sorted(name for name in self.predictions if name.partition(":")[0] == method)
        if not found:
            raise EvaluationError(f"{method} has no finished run; pretrain and evaluate it first.")
        return found[0]

    def read_labels(self) -> np.ndarray:
        """(test images, labels of zero-shot tasks) 1 present, 0 absent, nan unknown."""
        return self.dataset.label_values(self.dataset.images("test"), self.dataset.query_labels)


def draw_method_figures(
    pretraining: Workspace, cohort: str, rows: Sequence[Row], log: Say, embedded: int = EMBEDDED_BY_PAPERS
) -> list[MethodFigure]:
    """The figures of the networks that were pretrained on a cohort, on the dataset `cohort` or, empty, on their own.

    `rows` are the latest measured rows of these networks; `embedded` is the most images in the figure of embeddings. A
    figure that cannot be drawn is a sentence in the log. CohortError where there is no such dataset.
    """
    reader_module(cohort or pretraining.members()[0].cohort_name())
    try:
        networks = _find_networks(pretraining, cohort, rows, embedded)
    except UserError as error:
        log(f"No figures of methods against methods: {error}")
        return []
    note = SIMULATION_NOTE if networks.dataset.workspace.shows_simulation() else ""
    figures, missing = [], []
    for name, (title, draw) in DRAWINGS.items():
        try:
            figures.append(MethodFigure(name, f"{title}, on {networks.cohort}", draw(networks, note)))
        except UserError as error:
            missing.append(f"{title}: {str(error).rstrip('.')}.")
        except Exception as error:  # a figure that cannot be drawn must not take the tables away
            missing.append(f"{title}: {type(error).__name__} in our code.")
    if missing:
        log(f"Figures of methods that were not drawn on {networks.cohort}. {' '.join(missing)}")
    return figures


def _find_networks(pretraining: Workspace, cohort: str, rows: Sequence[Row], embedded: int) -> StoredNetworks:
    """The networks and their rows; UserError where the dataset cannot be read."""
    names = [member.cohort_name() for member in pretraining.members()]
    own = cohort in ("", *names)
    there = member_of(pretraining, cohort or names[0]) if own else pretraining.downstream(cohort)
    if there is None:
        raise EvaluationError(f"{cohort} has no archive; set RADALIGN_{cohort.upper()}_ROOT.")
    dataset = EvaluationDataset(there) if own else EvaluationDataset(there, facts_of(cohort))
    dataset.reader.manifest  # noqa: B018 - it is read now, not by each figure
    here = {"cohort": there.cohort_name(), "source": MEASURED, "setting": ZERO_SHOT, "repeat": 0}
    trained = [row for row in rows if here.items() <= row.items() and not row["method"].startswith(UNTRAINED)]
    kept = [row for row in trained if not str(row["note"]).startswith(OUTDATED)]
    runs = [run for method in evaluated_names() for run in known_runs(pretraining, method)]
    lowest = {run.name: run for run in sorted(runs, key=lambda run: -run.seed)}
    networks = {name: Predictions(dataset, run, WEIGHTS[0], lambda line: None) for name, run in lowest.items()}
    return StoredNetworks(dataset, kept, networks, embedded)


def _draw_radar(networks: StoredNetworks, note: str) -> bytes:
    """The mean AUROC of each class over seeds."""
    names = _expect_several(networks)
    rows = [row for row in networks.rows if row["task"] == TASK and row["metric"] == "auroc"]
    classes = networks.dataset.query_labels
    values = {name: [_average(rows, name, label) for label in classes] for name in names}
    return draw_radar(classes, values, note)


def _average(rows: Sequence[Row], method: str, label: str) -> float | None:
    """The mean over seeds of a number; None where it was not scored."""
    found = [row["value"] for row in rows if (row["method"], row["class"]) == (method, label)]
    known = [value for value in found if value is not None]
    return mean(known) if known else None


def _draw_roc(networks: StoredNetworks, note: str) -> bytes:
    names = _expect_several(networks)
    scores = {name: networks.predictions[name].zero_shot("test").scores for name in names}
    return draw_roc_panels(scores, networks.read_labels(), networks.dataset.query_labels, note)


def _draw_bars(networks: StoredNetworks, note: str) -> bytes:
    """LRCLR minus CheXzero."""
    first, second = (networks.choose(method).zero_shot("test").scores for method in SELECTING)
    names = networks.name_of(SELECTING[0]), networks.name_of(SELECTING[1])
    subjects, classes = networks.dataset.images("test").subjects, networks.dataset.query_labels
    return draw_differences(compare_classes(networks.read_labels(), first, second, classes, subjects), names, note)


def _draw_regions(networks: StoredNetworks, note: str) -> bytes:
    """The regions that LRCLR and CheXzero select in the same images."""
    chosen = {networks.name_of(method): networks.choose(method) for method in SELECTING}
    pixels, sentences, labels = find_examples(networks.choose(SELECTING[0]))
    if not len(pixels):
        raise EvaluationError("no test image has a label that there is a sentence for.")
    found = {name: compute_selected_regions(one.method, pixels, sentences) for name, one in chosen.items()}
    return draw_regions_of_networks(found, labels, note)


def _draw_embeddings(networks: StoredNetworks, note: str) -> bytes:
    """The features of the image encoders for the same test images."""
    chosen = {networks.name_of(method): networks.choose(method) for method in EMBEDDING}
    images = networks.dataset.images("test")
    names = list(networks.dataset.facts.classes) or label_names(images.labels)
    if len(images) < LEAST_SAMPLE or not names:
        raise EvaluationError(f"fewer than {LEAST_SAMPLE} test images have labels.")
    vectors = {name: one.features(images) for name, one in chosen.items()}
    labels = networks.dataset.label_values(images, names)
    return draw_embeddings_of_networks(vectors, labels, names, note, largest=networks.embedded)


def _expect_several(networks: StoredNetworks) -> list[str]:
    """The networks with numbers; EvaluationError where there are fewer than two."""
    if len(networks.scored) < 2:
        raise EvaluationError(
            "fewer than two networks have results of zero-shot classification on the present data; evaluate more."
        )
    return networks.scored


Drawing = Callable[[StoredNetworks, str], bytes]
DRAWINGS: dict[str, tuple[str, Drawing]] = {  # by the name of the file
    "radar": ("AUROC of each class by method", _draw_radar),
    "roc_curves": ("ROC curves by method", _draw_roc),
    "lrclr_minus_chexzero": ("AUROC of LRCLR minus CheXzero by class", _draw_bars),
    "selected_regions": ("Regions that LRCLR and CheXzero select", _draw_regions),
    "embeddings": ("Embeddings of ImageNet and ConVIRT", _draw_embeddings),
}
