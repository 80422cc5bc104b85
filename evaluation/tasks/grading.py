"""Grading: how severe a finding is, told from one softmax over the levels (MedKLIP, arXiv 2301.02228, edema 0 to 3).

The network is tuned as in fine_tuning, with classes that exclude one another. Each level is then scored against the
rest, and the mean over the levels is that of its rows: AUROC of its probability, F1 and accuracy at the threshold with
the best F1 on the validate split. MedKLIP's thresholds are searched on the test set, which flatters them; that rule is
not offered here. The order of the levels plays no part, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.learning.fitting import Progress
from evaluation.learning.labelled_images import LabelledFilms, learnt_labels, prepare
from evaluation.metrics.classification import RESAMPLES
from evaluation.metrics.values import ResultValue
from evaluation.tasks import zero_shot_classification
from evaluation.tasks.fine_tune import FineTuneConfig, tune
from evaluation.tasks.zero_shot_classification import best_thresholds
from models.method import Method

TASK = "grading"
METRICS = ("auroc", "f1", "accuracy")


def fit_and_score(
    method: Method,
    train: LabelledFilms,
    validate: LabelledFilms,
    test: LabelledFilms,
    levels: Sequence[str],
    config: FineTuneConfig,
    draw: int,
    resamples: int = RESAMPLES,
    progress: Progress | None = None,
) -> list[ResultValue]:
    """METRICS on `test` of a copy of `method` that was tuned on `train`, per level and their mean.

    A level that is not in `train` or in `test`, or is all there is, has rows with value None and is not in the mean;
    one that is not in `validate` has no threshold and keeps its AUROC only.
    """
    train, validate, test = prepare(train, validate, test, levels, exclusive=True)
    classifier = tune(method, train, validate, config, draw, exclusive=True, progress=progress)
    thresholds = best_thresholds(classifier.probabilities(validate.pixels, exclusive=True), validate.labels)
    scores, labels = classifier.probabilities(test.pixels, exclusive=True), learnt_labels(train, test)
    values = zero_shot_classification.score(scores, labels, levels, test.subjects, thresholds, resamples=resamples)
    return [value for value in values if value.metric in METRICS]
