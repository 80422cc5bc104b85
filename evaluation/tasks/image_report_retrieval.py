"""Image-report retrieval: is the right report among the first k of all reports of the split, and the reverse?

Reports with the very same words are equally right for each other's images: nothing in the words could tell them apart.
Where a wrong one is as similar as a right one it counts as ranked before it, so that a network that gives
the same similarity to everything finds nothing. The pool of what is ranked stays whole when patients are resampled;
the queries are resampled.

`per_class` adds 5x200 (GLoRIA, BenchX): up to 200 pairs of each of five classes, positive for one of them alone, where
any report of the same class is right. They are drawn from the test split, as many as there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cohorts.dataset import REPORTS as REPORTS_PURPOSE
from evaluation.dataset import entities_of
from evaluation.errors import EvaluationError
from evaluation.metrics.classification import RESAMPLES, patient_weights
from evaluation.metrics.precision_at import choose_candidates
from evaluation.metrics.same_class import score_same_class
from evaluation.metrics.values import ResultValue, summarise
from evaluation.tasks.base import QUERY_LABELS, Setting, Task
from store.settings import setting as option

if TYPE_CHECKING:
    from evaluation.dataset import Images
    from evaluation.predictions import Predictions

DEPTHS = (1, 5, 10)
REPORTS = "reports"  # the one class of these numbers
CLASSES = ("atelectasis", "cardiomegaly", "consolidation", "edema", "effusion")  # of 5x200, as observations are called


@dataclass(frozen=True)
class ImageReportRetrievalSettings:
    """How many pairs."""

    pairs: int = option(
        1000, "Pairs at most, chosen from the test split; as many as BenchX takes (MIMIC 5x200).", least=1
    )
    per_class: int = option(
        200, "Pairs at most of each of five classes, where any report of the class is right (5x200); 0: none.", least=0
    )


class ImageReportRetrieval(Task):
    """Whether an image finds its own report, and a report its image, among all of the test split."""

    name = "image_report_retrieval"
    purpose = REPORTS_PURPOSE
    only_images = "each image looks for its report, and images of one study have the same."
    leading = "recall_at_1"
    selection = "Nothing is chosen."
    on_pretraining_cohort = True
    reads = (QUERY_LABELS,)
    settings = ImageReportRetrievalSettings

    def score(
        self, predictions: Predictions, setting: Setting, settings: ImageReportRetrievalSettings
    ) -> Sequence[ResultValue]:
        """Recall at 1, 5 and 10 in both directions, and hits and precision of 5x200 where these are asked for."""
        images = predictions.dataset.images("test")
        texts = predictions.dataset.reader.columns("test", ["text"])["text"].take(images.rows).to_pylist()
        chosen = choose_pairs(texts, settings)
        if len(chosen) < 2:
            return []
        own = images.select(chosen)
        reports = [texts[row] for row in chosen]
        values = score(_compare(predictions, own, reports), np.arange(len(own)), reports, own.subjects)
        return values + (_score_classes(predictions, images, texts, settings) if settings.per_class else [])


def _compare(predictions: Predictions, images: Images, reports: Sequence[str]) -> np.ndarray:
    """(images, reports) similarities; reports of the same words are read once."""
    distinct, of_image = np.unique(np.asarray(reports, dtype=object), return_inverse=True)
    return predictions.similarities(images, distinct.tolist())[:, of_image]


def _score_classes(
    predictions: Predictions, images: Images, texts: Sequence[str], settings: ImageReportRetrievalSettings
) -> list[ResultValue]:
    """5x200; none where the dataset has fewer than two of the classes."""
    dataset = predictions.dataset
    names = [label for label, entity in entities_of(dataset.queries).items() if entity in CLASSES]
    labels = np.where(_has_report(texts)[:, None], dataset.label_values(images, names), np.nan)
    chosen = choose_candidates(labels, settings.per_class)
    if len(np.unique(chosen.categories)) < 2:
        return []
    pairs = images.select(chosen.rows)
    similarities = _compare(predictions, pairs, [texts[row] for row in chosen.rows])
    return score_same_class(similarities, chosen.categories, pairs.subjects)


def _has_report(texts: Sequence[str]) -> np.ndarray:
    return np.array([bool(text.strip()) for text in texts], bool)


def choose_pairs(reports: Sequence[str], settings: ImageReportRetrievalSettings, seed: int = 0) -> np.ndarray:
    """Places of the images, in order, that are evaluated: of those whose report is not empty."""
    there = np.flatnonzero(_has_report(reports))
    return np.sort(np.random.default_rng(seed).permutation(there)[: settings.pairs])


def score(
    similarities: np.ndarray,
    report_of: np.ndarray,
    reports: Sequence[str],
    subjects: Sequence[str] | np.ndarray,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[ResultValue]:
    """Recall at 1, 5 and 10 from image to report and from report to image, each with what chance would give.

    `similarities` (images, reports); `report_of` (images,) indexes `reports`, the texts; `subjects` (images,) are
    resampled, a report with its first image. A report without an image is ranked but is no query. A depth that takes in
    all there is to rank is not scored. n counts queries.
    """
    _check(similarities, report_of, reports, subjects)
    words = np.unique(np.asarray(reports, dtype=object), return_inverse=True)[1]
    right = words[report_of][:, None] == words
    queries, first_image = np.unique(report_of, return_index=True)
    weights = patient_weights(subjects, resamples, seed)
    values = _recalls("recall_at", similarities, right, weights)
    from_text = similarities.T[queries], right.T[queries]
    return values + _recalls("text_to_image_recall_at", *from_text, weights[:, first_image])


def ranks_of_right(similarities: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The place (queries,), from 1, of the first right one of each query, behind all wrong ones that are as similar.

    `similarities` (queries, ranked) and `right`, the same shape, bool; every query has a right one.
    """
    best = np.where(right, similarities, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    return 1 + ((similarities >= best) & ~right).sum(axis=1)


def _recalls(name: str, similarities: np.ndarray, right: np.ndarray, weights: np.ndarray) -> list[ResultValue]:
    from scipy.stats import hypergeom

    places, found = ranks_of_right(similarities, right), []
    for depth in DEPTHS:
        chance = hypergeom.sf(0, right.shape[1], right.sum(axis=1), depth)  # of a right one in a random order
        scored = depth < similarities.shape[1]
        found += _mean(f"{name}_{depth}", places <= depth, weights, scored)
        found += _mean(f"{name}_{depth}_chance", chance, weights, scored)
    return found


def _mean(metric: str, hits: np.ndarray, weights: np.ndarray, scored: bool) -> list[ResultValue]:
    """The mean of `hits` (queries,), and under each row of `weights` (resamples, queries)."""
    counts = weights.sum(axis=1, dtype=np.float64)
    resampled = np.where(counts > 0, weights.astype(np.float64) @ hits / np.maximum(counts, 1), np.nan)
    point = hits.mean() if scored and len(hits) else np.nan
    return summarise(metric, [REPORTS], np.array([point]), resampled[:, None], np.array([len(hits)]))


def _check(
    similarities: np.ndarray, report_of: np.ndarray, reports: Sequence[str], subjects: Sequence[str] | np.ndarray
) -> None:
    if similarities.shape != (len(report_of), len(reports)) or len(subjects) != len(report_of):
        raise EvaluationError(
            f"Similarities {similarities.shape} do not fit {len(report_of)} images of {len(subjects)} patients "
            f"and {len(reports)} reports."
        )
    if not np.isfinite(similarities).all():
        raise EvaluationError("The model's similarities are not all finite numbers; its training diverged.")
