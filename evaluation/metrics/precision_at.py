"""Precision at k of categorised queries that rank categorised images, as ConVIRT measures retrieval ("CheXpert 8x200").

Each category has up to 200 candidate images, positive for that category alone (Zhang et al., arXiv 2010.00747, section
4.4). Every query ranks all candidates; precision at k is the share of its own category among the first k. The
candidates are those of the released lists where the user has them (`released_lists`), else they are drawn from the test
split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.errors import EvaluationError
from evaluation.metrics.values import ResultValue, summarise

DEPTHS = (5, 10, 50)
CHANCE = "precision_chance"  # the share of its category among the images that a query ranks
METRICS = (*(f"precision_at_{depth}" for depth in DEPTHS), CHANCE)
PER_CATEGORY = 200


@dataclass(frozen=True)
class Candidates:
    """The images that are ranked, in random order. The order decides between equal similarities."""

    rows: np.ndarray  # (n,) index of the image among those they were chosen from
    categories: np.ndarray  # (n,) index of the one category that each is positive for


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


def score_rankings(
    similarities: np.ndarray,
    categories: np.ndarray,
    query_categories: np.ndarray,
    classes: Sequence[str],
    weights: np.ndarray,
    query_weights: np.ndarray,
    left_out: np.ndarray | None = None,
) -> list[ResultValue]:
    """Precision at 5, 10 and 50 per category, the mean over its queries, and what chance would give.

    `similarities` (candidates, queries); `categories` (candidates,) and `query_categories` (queries,) index `classes`;
    `weights` (resamples, candidates) and `query_weights` (resamples, queries) say how often each is drawn. `left_out`
    (candidates, queries) bool are the candidates that a query does not rank. A query that ranks fewer than k candidates
    of its category could not reach a precision at k of 1 and is not counted. A category without queries is not scored,
    nor the only one that has candidates. n counts candidates.
    """
    if similarities.shape != (weights.shape[1], query_weights.shape[1]):
        raise EvaluationError(
            f"Similarities {similarities.shape} do not fit {weights.shape[1]} candidates "
            f"and {query_weights.shape[1]} queries."
        )
    if not np.isfinite(similarities).all():
        raise EvaluationError("The model's similarities are not all finite numbers; its training diverged.")
    of_category = categories[:, None] == np.arange(len(classes))
    counts = of_category.sum(axis=0)
    weights, query_weights = (_prepend_sample(drawn) for drawn in (weights, query_weights))
    if left_out is None:
        left_out = np.zeros(similarities.shape, bool)
    means = _weigh_precisions(similarities, of_category, query_categories, weights, query_weights, left_out)
    values = []
    for metric, mean in means.items():
        if np.count_nonzero(counts) < 2:
            mean = np.full_like(mean, np.nan)
        values += summarise(metric, classes, mean[0], mean[1:], counts)
    return values


def _prepend_sample(weights: np.ndarray) -> np.ndarray:
    """The weights (1 + resamples, rows), whose first row is the sample itself."""
    return np.concatenate([np.ones((1, weights.shape[1]), np.float32), weights])


def _weigh_precisions(
    similarities: np.ndarray,
    of_category: np.ndarray,
    query_categories: np.ndarray,
    weights: np.ndarray,
    query_weights: np.ndarray,
    left_out: np.ndarray,
) -> dict[str, np.ndarray]:
    """By metric (weightings, classes): weighted mean over a category's queries, nan where none of them counts."""
    totals, drawn = ({metric: np.zeros((len(weights), of_category.shape[1])) for metric in METRICS} for _ in range(2))
    by_candidate = np.ascontiguousarray(weights.T)
    sums = weights.astype(np.float64) @ of_category
    for query, category in enumerate(query_categories):
        ranking = np.argsort(-similarities[:, query], kind="stable")
        out = np.flatnonzero(left_out[:, query])
        ranked = sums - by_candidate[out].T.astype(np.float64) @ of_category[out]
        ranking = ranking[~left_out[ranking, query]]
        reached = _count_reached(by_candidate, ranking)
        right = of_category[ranking[: len(reached)], category].astype(np.float32)
        for metric, (share, counted) in _score_query(reached, right, ranked, category).items():
            weight = query_weights[:, query] * counted
            totals[metric][:, category] += weight * share
            drawn[metric][:, category] += weight
    return {
        metric: np.where(drawn[metric] > 0, totals[metric] / np.maximum(drawn[metric], 1), np.nan) for metric in METRICS
    }


def _score_query(
    reached: np.ndarray, right: np.ndarray, ranked: np.ndarray, category: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By metric (weightings,): the value of a query of `category`, and whether it counts.

    `reached` (places, weightings) is that of `_count_reached`, `right` (places,) is 1 for an image of the category, and
    `ranked` (weightings, classes) says how many images of each category are ranked.
    """
    own = ranked[:, category]
    scores = {CHANCE: (own / np.maximum(ranked.sum(axis=1), 1), own > 0)}
    for depth in DEPTHS:
        taken = np.diff(np.minimum(reached, depth), axis=0, prepend=np.float32(0))
        scores[f"precision_at_{depth}"] = ((right @ taken).astype(np.float64) / depth, own >= depth)
    return scores


def _count_reached(by_candidate: np.ndarray, ranking: np.ndarray) -> np.ndarray:
    """(places, weightings): how many images the first places of `ranking` hold; no more places than the depths need."""
    places = 2 * DEPTHS[-1]
    while True:
        reached = np.cumsum(by_candidate[ranking[:places]], axis=0)
        if places >= len(ranking) or (reached[-1] >= DEPTHS[-1]).all():
            return reached
        places *= 2
