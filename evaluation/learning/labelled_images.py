"""Films and the labels that classifiers learn, cleaned, and of patients that only their split has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from evaluation.errors import EvaluationError
from evaluation.learning.fitting import ChosenFilms, Films, own_patients
from evaluation.metrics.classification import scorable


@dataclass(frozen=True)
class LabelledFilms:
    """Films of a split with what is known about them."""

    pixels: Films  # (n, size, size) uint8
    labels: np.ndarray  # (n, classes): 1 present, 0 absent, anything else is unknown
    subjects: np.ndarray  # (n,) patients

    def select(self, rows: np.ndarray) -> LabelledFilms:
        """Those of `rows`, which are indices."""
        return LabelledFilms(ChosenFilms(self.pixels, rows), self.labels[rows], self.subjects[rows])


def prepare(
    train: LabelledFilms, validate: LabelledFilms, test: LabelledFilms, classes: Sequence[str], exclusive: bool
) -> tuple[LabelledFilms, LabelledFilms, LabelledFilms]:
    """The splits with labels 1, 0 or nan; of `train` the films with a known label, of patients of no other split.

    Where classes are `exclusive`, all are known of a film or none.
    """
    train, validate, test = (_cleaned(films, classes, exclusive) for films in (train, validate, test))
    train = train.select(np.flatnonzero(~np.isnan(train.labels).all(axis=1)))
    return train.select(own_patients(train.subjects, validate.subjects, test.subjects)), validate, test


def learnt_labels(train: LabelledFilms, test: LabelledFilms) -> np.ndarray:
    """The labels of `test`, nan for a class of which `train` has one label only; both are prepared."""
    return np.where([scorable(column) for column in train.labels.T], test.labels, np.nan)


def _cleaned(films: LabelledFilms, classes: Sequence[str], exclusive: bool) -> LabelledFilms:
    rows = len(films.subjects)
    if len(films.pixels) != rows or films.labels.shape != (rows, len(classes)):
        raise EvaluationError(
            f"{len(films.pixels)} films, {rows} patients and labels {films.labels.shape} for {len(classes)} classes "
            "do not fit together."
        )
    if not exclusive:
        return replace(films, labels=np.where(np.isin(films.labels, (0, 1)), films.labels, np.nan))
    present = films.labels == 1
    if (present.sum(axis=1) > 1).any():
        raise EvaluationError("A film has several of the classes, which should exclude one another: check its labels.")
    return replace(films, labels=np.where(present.any(axis=1, keepdims=True), present, np.nan))
