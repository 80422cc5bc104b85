"""Image-image retrieval as ConVIRT measures it (Zhang et al., arXiv 2010.00747, section 4.4: "CheXpert 8x200").

Each of eight categories has about ten images as queries; every query ranks the candidates of text-image retrieval by
the cosine of the image encoder's features, before any projection. The paper's queries were chosen by experts and are
released with the candidates (`lists`). Ours are chosen from the test split, and no patient of theirs is among the
candidates. In a small test split ten queries say little: with `queries: 0` every candidate is a query, too, and ranks
the candidates of other patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from cohorts.dataset import CATEGORIES
from evaluation.dataset import entities_of
from evaluation.errors import EvaluationError
from evaluation.metrics.classification import RESAMPLES, patient_weights, ratio
from evaluation.metrics.precision_at import Candidates, choose_candidates, score_rankings
from evaluation.metrics.released_lists import (
    COHORT,
    IMAGES,
    LISTS,
    digest_lists,
    read_candidates,
    read_categories,
    read_image_queries,
    report_missing,
)
from evaluation.metrics.values import ResultValue
from evaluation.tasks.base import QUERY_LABELS, Setting, Task
from evaluation.tasks.text_image_retrieval import categories_of
from store.settings import setting as option

if TYPE_CHECKING:
    from evaluation.predictions import Predictions


@dataclass(frozen=True)
class ImageImageRetrievalSettings:
    """How many images of each category."""

    queries: int = option(
        10,
        "Images that are queries, per category, and none of their patients a candidate. 0: every candidate is a query "
        "and ranks those of other patients.",
        least=0,
    )
    candidates: int = option(200, "Images that are ranked, per category.", least=1)
    lists: str = option("", LISTS)


class ImageImageRetrieval(Task):
    """Which images an image of one finding finds: the share of the right ones among the first, as in ConVIRT."""

    name = "image_image_retrieval"
    purpose = CATEGORIES
    only_images = "what is ranked is images, and embeddings are not averaged."
    leading = "precision_at_5"
    selection = "Nothing is chosen."
    on_pretraining_cohort = True
    reads = (QUERY_LABELS,)
    settings = ImageImageRetrievalSettings

    def digest_inputs(self, settings: ImageImageRetrievalSettings) -> str:
        """Digest of the released lists."""
        return digest_lists(settings.lists)

    def score(
        self, predictions: Predictions, setting: Setting, settings: ImageImageRetrievalSettings
    ) -> Sequence[ResultValue]:
        """Precision at 5, 10 and 50 per category and their mean."""
        dataset = predictions.dataset
        if settings.lists and dataset.facts.name == COHORT:
            return _score_released(predictions, Path(settings.lists))
        images, categories = dataset.images("test"), list(categories_of(entities_of(dataset.queries)))
        labels = dataset.label_values(images, categories)
        queries, ranked = choose_images(labels, images.subjects, settings)
        if not len(queries.rows) or not len(ranked.rows):
            return []
        features, subjects = predictions.features(images), images.subjects
        return score(
            features[ranked.rows], ranked.categories, subjects[ranked.rows],
            features[queries.rows], queries.categories, subjects[queries.rows], categories,
            own_patient="refused" if settings.queries else "left out",
        )  # fmt: skip


def _score_released(predictions: Predictions, folder: Path) -> list[ResultValue]:
    """The released queries and candidates."""
    categories = read_categories(folder, IMAGES)
    queries = read_image_queries(folder, predictions.dataset, categories)
    ranked = read_candidates(folder, IMAGES, predictions.dataset, categories)
    values = score(
        ranked.predict(predictions.features), ranked.categories, ranked.subjects,
        queries.predict(predictions.features), queries.categories, queries.subjects, categories, own_patient="ranked",
    )  # fmt: skip
    return values + report_missing(predictions.log, queries=queries, candidates=ranked)


def choose_images(
    labels: np.ndarray,
    subjects: Sequence[str] | np.ndarray,
    settings: ImageImageRetrievalSettings = ImageImageRetrievalSettings(),
    seed: int = 0,
) -> tuple[Candidates, Candidates]:
    """The images that are queries and those that are ranked, each positive for one category alone.

    No patient has both, or with `queries` of 0 they are the same images. `labels` (images, categories) hold 1 present,
    0 absent, -1 uncertain, nan unknown; `subjects` (images,).
    """
    if not settings.queries:
        both = choose_candidates(labels, settings.candidates, seed)
        return both, both
    queries = choose_candidates(labels, settings.queries, seed)
    patients = np.asarray(subjects)
    others = np.flatnonzero(~np.isin(patients, patients[queries.rows]))
    ranked = choose_candidates(labels[others], settings.candidates, seed)
    return queries, Candidates(others[ranked.rows], ranked.categories)


def score(
    features: np.ndarray,
    categories: np.ndarray,
    subjects: Sequence[str] | np.ndarray,
    query_features: np.ndarray,
    query_categories: np.ndarray,
    query_subjects: Sequence[str] | np.ndarray,
    classes: Sequence[str],
    seed: int = 0,
    resamples: int = RESAMPLES,
    own_patient: Literal["refused", "ranked", "left out"] = "refused",
) -> list[ResultValue]:
    """Precision at 5, 10 and 50 per category, the mean over its queries, and what chance would give.

    `features` (candidates, dim) and `query_features` (queries, dim) of the image encoder; the categories index
    `classes`. The patients of both are resampled. `own_patient` is what becomes of a candidate of the query's patient:
    an EvaluationError, ranked as lists of others have it, or left out. What is not scored: see `score_rankings`.
    """
    of_own = np.asarray(subjects, dtype=str)[:, None] == np.asarray(query_subjects, dtype=str)
    if own_patient == "refused" and of_own.any():
        raise EvaluationError("A patient has images on both sides of the retrieval; choose them with `choose_images`.")
    patients = np.concatenate([np.asarray(owners, dtype=str) for owners in (subjects, query_subjects)])
    weights, query_weights = np.split(patient_weights(patients, resamples, seed), [len(subjects)], axis=1)
    similarities = _directions(features) @ _directions(query_features).T
    left_out = of_own if own_patient == "left out" else None
    return score_rankings(similarities, categories, query_categories, classes, weights, query_weights, left_out)


def _directions(features: np.ndarray) -> np.ndarray:
    """Features of length 1; those of length 0 stay."""
    if not np.isfinite(features).all():
        raise EvaluationError("The model's image features are not all finite numbers; its training diverged.")
    features = features.astype(np.float64)
    return ratio(features, np.linalg.norm(features, axis=1, keepdims=True))
