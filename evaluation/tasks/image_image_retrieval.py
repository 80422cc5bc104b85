"""Image-image retrieval as ConVIRT measures it (Zhang et al., arXiv 2010.00747, section 4.4: "CheXpert 8x200").

Each of eight categories has about ten films as queries; every query ranks the candidates of text-image retrieval by the
cosine of the image encoder's features, before any projection. The paper's queries were chosen by experts and are not
public: ours are drawn from the test split, and no patient of theirs is among the candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.errors import EvaluationError
from evaluation.metrics.classification import RESAMPLES, patient_weights, ratio
from evaluation.metrics.precision_at import Candidates, choose_candidates, score_rankings
from evaluation.metrics.values import ResultValue

TASK = "image_image_retrieval"


@dataclass(frozen=True)
class ImageImageRetrievalConfig:
    """How many films of each category."""

    queries: int = 10  # films that ask, per category
    candidates: int = 200  # films that are ranked, per category


def choose_films(
    labels: np.ndarray,
    subjects: Sequence[str] | np.ndarray,
    config: ImageImageRetrievalConfig = ImageImageRetrievalConfig(),
    seed: int = 0,
) -> tuple[Candidates, Candidates]:
    """The films that ask and the films that are ranked, each positive for one category alone; no patient has both.

    `labels` (images, categories) hold 1 present, 0 absent, -1 uncertain, nan unknown; `subjects` (images,).
    """
    queries = choose_candidates(labels, config.queries, seed)
    patients = np.asarray(subjects)
    others = np.flatnonzero(~np.isin(patients, patients[queries.rows]))
    ranked = choose_candidates(labels[others], config.candidates, seed)
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
) -> list[ResultValue]:
    """Precision at 5, 10 and 50 per category, the mean over its queries, and what chance would give.

    `features` (candidates, dim) and `query_features` (queries, dim) of the image encoder; the categories index
    `classes`. The patients of both are resampled. What is not scored: see `score_rankings`.
    """
    if np.isin(query_subjects, subjects).any():
        raise EvaluationError("A patient has films on both sides of the retrieval; choose them with `choose_films`.")
    patients = np.concatenate([np.asarray(owners, dtype=str) for owners in (subjects, query_subjects)])
    weights, query_weights = np.split(patient_weights(patients, resamples, seed), [len(subjects)], axis=1)
    similarities = _directions(features) @ _directions(query_features).T
    return score_rankings(similarities, categories, query_categories, classes, weights, query_weights)


def _directions(features: np.ndarray) -> np.ndarray:
    """Features of length 1; those of length 0 stay."""
    if not np.isfinite(features).all():
        raise EvaluationError("The model's image features are not all finite numbers; its training diverged.")
    features = features.astype(np.float64)
    return ratio(features, np.linalg.norm(features, axis=1, keepdims=True))
