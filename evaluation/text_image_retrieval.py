"""Text-image retrieval as ConVIRT measures it (Zhang et al., arXiv 2010.00747, section 4.4: "CheXpert 8x200").

Eight categories have up to 200 candidate images each, positive for that category alone, and five sentences each.
Every sentence ranks all candidates; precision at k is the share of its own category among the first k. The paper's
candidates and sentences are not public: candidates are drawn from the test split, sentences are our own.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.errors import EvaluationError
from evaluation.metrics import RESAMPLES, patient_weights
from evaluation.values import ResultValue, summarise

TASK = "text_image_retrieval"
QUERIES = Path(__file__).parent / "data" / "retrieval_queries.csv"
DEPTHS = (5, 10, 50)
PER_CATEGORY = 200


@dataclass(frozen=True)
class Candidates:
    """The images that are ranked, in an order drawn at random, which is what decides between equal similarities."""

    rows: np.ndarray  # (n,) index of the image among those they were chosen from
    categories: np.ndarray  # (n,) index of the one category that each is positive for


def read_queries() -> dict[str, list[str]]:
    """The sentences of each category, which is the name of an observation."""
    queries: dict[str, list[str]] = {}
    with QUERIES.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            queries.setdefault(row["entity"], []).append(row["sentence"])
    return queries


def categories_of(classes: Mapping[str, str]) -> dict[str, str]:
    """The labels that stand for a category (label -> entity), one per category, of a cohort's `classes`."""
    queries = read_queries()
    labels = {entity: label for label, entity in classes.items() if entity in queries}
    return {label: entity for entity, label in labels.items()}


def choose_candidates(labels: np.ndarray, per_category: int = PER_CATEGORY, seed: int = 0) -> Candidates:
    """Up to `per_category` images each that are positive for one category alone.

    `labels` (images, categories) hold 1 present, 0 absent, -1 uncertain, nan unknown. An image that is uncertain for
    another category is no candidate; one whose report is silent about it is.
    """
    exclusive = ((labels == 1).sum(axis=1) == 1) & ~(labels == -1).any(axis=1)
    drawn = np.random.default_rng(seed).permutation(np.flatnonzero(exclusive))
    categories = (labels[drawn] == 1).argmax(axis=1) if len(drawn) else np.empty(0, np.int64)
    place = np.zeros(len(drawn), np.int64)  # among those of its category
    for category in range(labels.shape[1]):
        own = categories == category
        place[own] = np.arange(own.sum())
    kept = place < per_category
    return Candidates(drawn[kept], categories[kept])


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
    `classes`; `subjects` (candidates,) are resampled. A category with fewer than k candidates could not reach a
    precision at k of 1 and is not scored, nor is the only one that has candidates. n counts candidates.
    """
    _check(similarities, categories, query_categories, subjects)
    of_category = categories[:, None] == np.arange(len(classes))
    counts = of_category.sum(axis=0)
    weights = np.concatenate([np.ones((1, len(categories))), patient_weights(subjects, resamples, seed)])
    sums = weights @ of_category  # (1 + resamples, classes); its first row is the sample itself
    precisions = _precisions(similarities, of_category, query_categories, weights)
    contested = np.count_nonzero(counts) > 1
    values = []
    for depth, precision in precisions.items():
        precision = np.where(contested & (sums >= depth), precision, np.nan)
        values += summarise(f"precision_at_{depth}", classes, precision[0], precision[1:], counts)
    chance = np.where(contested & (sums > 0), sums / np.maximum(sums.sum(axis=1, keepdims=True), 1), np.nan)
    return values + summarise("precision_chance", classes, chance[0], chance[1:], counts)


def _precisions(
    similarities: np.ndarray, of_category: np.ndarray, query_categories: np.ndarray, weights: np.ndarray
) -> dict[int, np.ndarray]:
    """By depth (weightings, classes): mean precision of a category's sentences under every weighting of the rows."""
    classes = of_category.shape[1]
    sentences = np.maximum(np.bincount(query_categories, minlength=classes), 1)
    totals = {depth: np.zeros((len(weights), classes)) for depth in DEPTHS}
    for query, category in enumerate(query_categories):
        ranking = np.argsort(-similarities[:, query], kind="stable")
        right = of_category[ranking, category].astype(np.float64)
        reached = np.cumsum(weights[:, ranking], axis=1)
        for depth, total in totals.items():
            taken = np.diff(np.minimum(reached, depth), axis=1, prepend=0)
            total[:, category] += taken @ right / depth / sentences[category]
    return totals


def _check(
    similarities: np.ndarray,
    categories: np.ndarray,
    query_categories: np.ndarray,
    subjects: Sequence[str] | np.ndarray,
) -> None:
    if similarities.shape != (len(categories), len(query_categories)) or len(subjects) != len(categories):
        raise EvaluationError(
            f"Similarities {similarities.shape} do not fit {len(categories)} candidates of {len(subjects)} patients "
            f"and {len(query_categories)} sentences."
        )
    if not np.isfinite(similarities).all():
        raise EvaluationError("The model's similarities are not all finite numbers; its training diverged.")
