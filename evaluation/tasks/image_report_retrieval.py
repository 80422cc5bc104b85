"""Image-report retrieval: is the right report among the first k of all reports of the split, and the reverse?

Reports with the very same words are equally right for each other's films: nothing in the words could tell them apart.
Where a wrong one is as similar as a right one it counts as ranked before it, so that a network that answers the same to
everything finds nothing. The pool of what is ranked stays whole when patients are drawn again; the queries are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import hypergeom

from evaluation.errors import EvaluationError
from evaluation.metrics.classification import RESAMPLES, patient_weights
from evaluation.metrics.values import ResultValue, summarise

TASK = "image_report_retrieval"
DEPTHS = (1, 5, 10)
REPORTS = "reports"  # the one class of these numbers


@dataclass(frozen=True)
class ImageReportRetrievalConfig:
    """How many pairs."""

    pairs: int = 1000  # at most, drawn from the test split; as many as BenchX takes (MIMIC 5x200)


def choose_pairs(reports: Sequence[str], config: ImageReportRetrievalConfig, seed: int = 0) -> np.ndarray:
    """Places of the films, in order, that are asked about: of those whose report is not empty."""
    there = np.flatnonzero([bool(report.strip()) for report in reports])
    return np.sort(np.random.default_rng(seed).permutation(there)[: config.pairs])


def score(
    similarities: np.ndarray,
    report_of: np.ndarray,
    reports: Sequence[str],
    subjects: Sequence[str] | np.ndarray,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[ResultValue]:
    """Recall at 1, 5 and 10 from film to report and from report to film, each with what chance would give.

    `similarities` (images, reports); `report_of` (images,) indexes `reports`, the texts; `subjects` (images,) are
    resampled, a report with its first film. A report without a film is ranked but asks nothing. A depth that takes in
    all there is to rank is not scored. n counts queries.
    """
    _check(similarities, report_of, reports, subjects)
    words = np.unique(np.asarray(reports, dtype=object), return_inverse=True)[1]
    right = words[report_of][:, None] == words
    asking, first_film = np.unique(report_of, return_index=True)
    weights = patient_weights(subjects, resamples, seed)
    values = _recalls("recall_at", similarities, right, weights)
    from_text = similarities.T[asking], right.T[asking]
    return values + _recalls("text_to_image_recall_at", *from_text, weights[:, first_film])


def ranks_of_right(similarities: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The place (queries,), from 1, of the first right one of each query, behind all wrong ones that are as similar.

    `similarities` (queries, ranked) and `right`, the same shape, bool; every query has a right one.
    """
    best = np.where(right, similarities, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    return 1 + ((similarities >= best) & ~right).sum(axis=1)


def _recalls(name: str, similarities: np.ndarray, right: np.ndarray, weights: np.ndarray) -> list[ResultValue]:
    places, found = ranks_of_right(similarities, right), []
    for depth in DEPTHS:
        chance = hypergeom.sf(0, right.shape[1], right.sum(axis=1), depth)  # of a right one among the first of a draw
        scored = depth < similarities.shape[1]
        found += _mean(f"{name}_{depth}", places <= depth, weights, scored)
        found += _mean(f"{name}_{depth}_chance", chance, weights, scored)
    return found


def _mean(metric: str, hits: np.ndarray, weights: np.ndarray, scored: bool) -> list[ResultValue]:
    """The mean of `hits` (queries,), and under each row of `weights` (resamples, queries)."""
    drawn = weights.sum(axis=1, dtype=np.float64)
    resampled = np.where(drawn > 0, weights.astype(np.float64) @ hits / np.maximum(drawn, 1), np.nan)
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
