"""Text-image retrieval as ConVIRT measures it (Zhang et al., arXiv 2010.00747, section 4.4: "CheXpert 8x200").

Eight categories have up to 200 candidate images and five sentences each; every sentence ranks all candidates. The
paper's sentences are not public: these are our own.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from evaluation.metrics.classification import RESAMPLES, patient_weights
from evaluation.metrics.precision_at import score_rankings
from evaluation.metrics.values import ResultValue

TASK = "text_image_retrieval"
QUERIES = Path(__file__).parent / "data" / "retrieval_queries.csv"


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
