"""Linear probe: how well a linear classifier reads the labels off frozen features (MGCA, arXiv 2210.06044, 4.2).

A logistic regression per label on standardised backbone features, trained on a fraction of the labelled patients. The
strength of its L2 penalty is the one with the best mean AUROC on the validate split. The papers train the same
classifier by AdamW and stop early; scikit-learn finds the optimum of the same loss, so that no rate has to be tuned.
Where the classes exclude one another (COVIDx), one softmax over them takes the place of the regressions, and the share
of images whose largest score is the right one, MGCA's accuracy, is measured too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cohorts.dataset import CLASSES
from evaluation.errors import EvaluationError
from evaluation.metrics.classification import RESAMPLES, accuracy, auroc, aurocs, is_scorable, patient_weights
from evaluation.metrics.units import IMAGE, Scored
from evaluation.metrics.values import ResultValue, add_positives, summarise
from evaluation.tasks.base import ONCE, Setting, Task

if TYPE_CHECKING:
    from evaluation.dataset import Images
    from evaluation.predictions import Predictions

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # C of scikit-learn: the penalty's inverse, from strong to weak
ITERATIONS = 1000


@dataclass(frozen=True)
class Labelled:
    """Frozen features of images, with what is known about them."""

    features: np.ndarray  # (n, dim) float32
    labels: np.ndarray  # (n, classes): 1 present, 0 absent, anything else is left out
    subjects: np.ndarray  # (n,)

    def select(self, rows: np.ndarray) -> Labelled:
        """Some of the rows."""
        return Labelled(self.features[rows], self.labels[rows], self.subjects[rows])


class LinearProbe(Task):
    """What a linear classifier reads off the frozen features, given the labels of a fraction of the patients."""

    name = "linear_probe"
    purpose = CLASSES
    leading = "auroc"
    selection = "The penalty is chosen on the validate split."
    on_pretraining_cohort = True
    learning = ONCE
    figures = ("embeddings",)

    def score(self, predictions: Predictions, setting: Setting, settings: None) -> Sequence[ResultValue]:
        """AUROC per class and their mean; accuracy where the classes exclude one another."""
        assert setting.fraction is not None
        dataset = predictions.dataset
        names, train, validate, test = dataset.labelled_splits(setting.fraction, setting.repeat)
        if not names or not len(train) or not len(test):
            return []

        def label(images: Images) -> Labelled:
            return Labelled(predictions.features(images), dataset.label_values(images, names), images.subjects)

        exclusive = dataset.facts.exclusive and len(names) > 1
        scored = Scored.of(test, setting.unit)
        return fit_and_score(label(train), label(validate), label(test), names, exclusive, scored)


def fit_and_score(
    train: Labelled,
    validate: Labelled,
    test: Labelled,
    classes: Sequence[str],
    exclusive: bool = False,
    scored: Scored | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[ResultValue]:
    """AUROC on `test` of probes that were fitted on `train`, with their penalty chosen on `validate`.

    Images of `train` whose patient is also in one of the others are left out. A class of which `train` or `test` has
    only one label has a row with value None and is not in the mean. With `exclusive` classes there is an accuracy.
    `scored` says which studies the images of `test` are of, whose probabilities are averaged; None: images are scored.
    """
    from scipy.special import expit

    for sample in (train, validate, test):
        _check(sample, classes)
    train = train.select(~np.isin(train.subjects, np.concatenate([validate.subjects, test.subjects])))
    scores, labels, subjects = predict(train, validate, test.features, exclusive), test.labels, test.subjects
    if scored and scored.unit != IMAGE:
        scores = scored.average(scores if exclusive else expit(scores))
        labels, subjects = scored.join_labels(labels, exclusive), scored.subjects
    known = np.where(np.isin(labels, (0, 1)) & ~np.isnan(scores), labels, np.nan)
    weights = patient_weights(subjects, resamples, seed)
    points, resampled = aurocs(known, np.nan_to_num(scores), weights)
    values = summarise("auroc", classes, points, resampled, (~np.isnan(known)).sum(axis=0))
    values = add_positives(values, classes, labels)
    return [*values, accuracy(labels, scores, weights)] if exclusive else values


def predict(train: Labelled, validate: Labelled, features: np.ndarray, exclusive: bool = False) -> np.ndarray:
    """Scores (n, classes) of `features` (n, dim); nan for a class of which `train` has only one label.

    They are logits, or with `exclusive` classes probabilities. Where `validate` can score nothing, the strongest
    penalty is taken.
    """
    from sklearn.preprocessing import StandardScaler

    fit, apply = (_fit_softmax, _probabilities) if exclusive else (_fit, _apply)
    if not len(train.features):
        raise EvaluationError("No image to fit a linear probe on: no patient of the label fraction is in the shards.")
    scaler = StandardScaler().fit(train.features)
    standardised = scaler.transform(train.features)
    probes = [fit(standardised, train.labels, strength) for strength in STRENGTHS]
    best = probes[0]
    if len(validate.features):
        held_out = scaler.transform(validate.features)
        best = max(probes, key=lambda probe: _mean_auroc(validate.labels, apply(probe, held_out)))
    return apply(best, scaler.transform(features))


def _fit(features: np.ndarray, labels: np.ndarray, strength: float) -> np.ndarray:
    """(classes, dim + 1) coefficients, the intercept last; nan for a class with one label only."""
    from sklearn.linear_model import LogisticRegression

    probe = np.full((labels.shape[1], features.shape[1] + 1), np.nan)
    for column, truth in enumerate(labels.T):
        if is_scorable(truth):
            known = np.isin(truth, (0, 1))
            fitted = LogisticRegression(C=strength, max_iter=ITERATIONS).fit(features[known], truth[known])
            probe[column] = [*fitted.coef_[0], fitted.intercept_[0]]
    return probe


def _fit_softmax(features: np.ndarray, labels: np.ndarray, strength: float) -> np.ndarray:
    """(classes, dim + 1) coefficients of one softmax; nan for a class without an image, all where one class has all."""
    from sklearn.linear_model import LogisticRegression

    probe = np.full((labels.shape[1], features.shape[1] + 1), np.nan)
    single = (labels == 1).sum(axis=1) == 1
    present = labels[single].argmax(axis=1)
    columns = np.unique(present)
    if len(columns) < 2:
        return probe
    fitted = LogisticRegression(C=strength, max_iter=ITERATIONS).fit(features[single], present)
    found = np.column_stack([fitted.coef_, fitted.intercept_])
    probe[columns] = found if len(columns) > 2 else [-found[0] / 2, found[0] / 2]  # of two classes scikit-learn has one
    return probe


def _probabilities(probe: np.ndarray, features: np.ndarray) -> np.ndarray:
    from scipy.special import softmax

    scores = _apply(probe, features)
    learnt = ~np.isnan(scores).any(axis=0)
    if learnt.any():
        scores[:, learnt] = softmax(scores[:, learnt], axis=1)
    return scores


def _apply(probe: np.ndarray, features: np.ndarray) -> np.ndarray:
    return features @ probe[:, :-1].T + probe[:, -1]


def _mean_auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Over the classes that can be scored; 0 where none can."""
    known = np.where(np.isin(labels, (0, 1)) & ~np.isnan(scores), labels, np.nan)
    areas = np.array([auroc(known[:, column], scores[:, column]) for column in range(known.shape[1])])
    return float(areas[np.isfinite(areas)].mean()) if np.isfinite(areas).any() else 0.0


def _check(sample: Labelled, classes: Sequence[str]) -> None:
    rows = len(sample.subjects)
    if len(sample.features) != rows or sample.labels.shape != (rows, len(classes)):
        raise EvaluationError(
            f"Features {sample.features.shape} and labels {sample.labels.shape} do not fit {rows} images "
            f"of {len(classes)} classes."
        )
    if not np.isfinite(sample.features).all():
        raise EvaluationError("The model's image features are not all finite numbers; its training diverged.")
