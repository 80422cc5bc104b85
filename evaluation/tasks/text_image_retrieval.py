"""Text-image retrieval as ConVIRT measures it (Zhang et al., arXiv 2010.00747, section 4.4: "CheXpert 8x200").

Eight categories have up to 200 candidate images and five sentences each; every sentence ranks all candidates. The
paper's sentences are released with its candidates (`lists`). Without them, the sentences are our own.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cohorts.dataset import CATEGORIES
from evaluation.dataset import entities_of
from evaluation.metrics.classification import RESAMPLES, patient_weights
from evaluation.metrics.precision_at import choose_candidates, score_rankings
from evaluation.metrics.released_lists import (
    COHORT,
    LISTS,
    TEXTS,
    digest_lists,
    read_candidates,
    read_categories,
    read_texts,
    report_missing,
)
from evaluation.metrics.values import ResultValue
from evaluation.tasks.base import QUERY_LABELS, Setting, Task
from store.settings import setting as option

if TYPE_CHECKING:
    from evaluation.predictions import Predictions

QUERIES = Path(__file__).parent / "data" / "retrieval_queries.csv"


@dataclass(frozen=True)
class TextImageRetrievalSettings:
    """Which images and sentences."""

    lists: str = option("", LISTS)


class TextImageRetrieval(Task):
    """Which images a sentence finds: the share of the right ones among the first, as in ConVIRT."""

    name = "text_image_retrieval"
    purpose = CATEGORIES
    only_images = "what is ranked is images, and embeddings are not averaged."
    leading = "precision_at_5"
    selection = "Nothing is chosen."
    on_pretraining_cohort = True
    reads = (QUERY_LABELS,)
    settings = TextImageRetrievalSettings
    figures = ("word_attention",)

    def digest_inputs(self, settings: TextImageRetrievalSettings) -> str:
        """Digest of the released lists."""
        return digest_lists(settings.lists)

    def score(
        self, predictions: Predictions, setting: Setting, settings: TextImageRetrievalSettings
    ) -> Sequence[ResultValue]:
        """Precision at 5, 10 and 50 per category and their mean."""
        dataset = predictions.dataset
        if settings.lists and dataset.facts.name == COHORT:
            return _score_released(predictions, Path(settings.lists))
        images, categories = dataset.images("test"), categories_of(entities_of(dataset.queries))
        candidates = choose_candidates(dataset.label_values(images, list(categories)))
        if not len(candidates.rows):
            return []
        chosen = images.select(candidates.rows)
        sentences = [read_queries()[entity] for entity in categories.values()]
        similarities = predictions.similarities(chosen, [sentence for group in sentences for sentence in group])
        query_categories = np.repeat(np.arange(len(sentences)), [len(group) for group in sentences])
        return score(similarities, candidates.categories, query_categories, list(categories), chosen.subjects)


def _score_released(predictions: Predictions, folder: Path) -> list[ResultValue]:
    """The released sentences and candidates."""
    categories, texts = read_categories(folder, TEXTS), read_texts(folder)
    ranked = read_candidates(folder, TEXTS, predictions.dataset, categories)
    sentences = [sentence for _, sentence in texts]
    similarities = ranked.predict(lambda images: predictions.similarities(images, sentences))
    query_categories = np.array([categories.index(category) for category, _ in texts])
    values = score(similarities, ranked.categories, query_categories, categories, ranked.subjects)
    return values + report_missing(predictions.log, candidates=ranked)


def read_queries() -> dict[str, list[str]]:
    """The sentences of each category, which is the name of an observation."""
    queries: dict[str, list[str]] = {}
    with QUERIES.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            queries.setdefault(row["entity"], []).append(row["sentence"])
    return queries


def categories_of(classes: Mapping[str, str]) -> dict[str, str]:
    """The labels that stand for a category (label -> entity), one per category, of a dataset's `classes`."""
    queries = read_queries()
    labels = {entity: label for label, entity in classes.items() if entity in queries}
    return {label: entity for entity, label in labels.items()}


def score(
    similarities: np.ndarray,
    categories: np.ndarray,
    query_categories: np.ndarray,
    classes: Sequence[str],
    subjects: Sequence[str] | np.ndarray,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[ResultValue]:
    """Precision at 5, 10 and 50 per category, the mean over its sentences, and what chance would give.

    `similarities` (candidates, sentences); `categories` (candidates,) and `query_categories` (sentences,) index
    `classes`; `subjects` (candidates,) are resampled, the sentences stay. What is not scored: see `score_rankings`.
    """
    weights = patient_weights(subjects, resamples, seed)
    sentences = np.ones((resamples, len(query_categories)), np.float32)
    return score_rankings(similarities, categories, query_categories, classes, weights, sentences)
