"""Grading: how severe a finding is, told from one softmax over the levels (MedKLIP, arXiv 2301.02228, edema 0 to 3).

The network is tuned as in fine-tuning, with classes that exclude one another. Each level is then scored against the
rest, and the mean over the levels is that of its rows: AUROC of its probability, F1 and accuracy at the threshold with
the best F1 on the validate split. MedKLIP's thresholds are searched on the test set, which flatters them; that rule is
not offered here. The order of the levels plays no part, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cohorts.dataset import GRADES
from evaluation.metrics.classification import RESAMPLES
from evaluation.metrics.units import IMAGE, Scored
from evaluation.metrics.values import ResultValue
from evaluation.tasks import zero_shot_classification
from evaluation.tasks.base import ONCE, Setting, Task
from evaluation.tasks.fine_tune import FineTuneSettings

if TYPE_CHECKING:
    import numpy as np

    from evaluation.inference import Progress
    from evaluation.learning.annotated import LabelledImages
    from evaluation.predictions import Predictions
    from models.method import Method

METRICS = ("auroc", "f1", "accuracy")


class Grading(Task):
    """How severe: one softmax over the grades, each against the rest, as in MedKLIP."""

    name = "grading"
    purpose = GRADES
    leading = "auroc"
    selection = "The epoch that is kept is the best on the validate split. Thresholds are chosen there, too."
    learning = ONCE
    settings = FineTuneSettings
    settings_of = "fine_tune"

    def score(self, predictions: Predictions, setting: Setting, settings: FineTuneSettings) -> Sequence[ResultValue]:
        """AUROC, F1 and accuracy of each level against the rest, and their means."""
        from evaluation.learning.annotated import label_splits

        names, train, validate, test = label_splits(predictions.dataset, setting)
        if not names or not len(train) or not len(test):
            return []
        data = train, validate, test
        return fit_and_score(predictions.method, *data, names, settings, setting.repeat, setting.unit)


def fit_and_score(
    method: Method,
    train: LabelledImages,
    validate: LabelledImages,
    test: LabelledImages,
    levels: Sequence[str],
    settings: FineTuneSettings,
    repeat: int,
    unit: str = IMAGE,
    resamples: int = RESAMPLES,
    progress: Progress | None = None,
) -> list[ResultValue]:
    """METRICS on `test` of a copy of `method` that was tuned on `train`, per level and their mean.

    A level that is not in `train` or in `test`, or is all there is, has rows with value None and is not in the mean;
    one that is not in `validate` has no threshold and keeps its AUROC only. What has one score is the `unit`: a study
    whose images have several levels is left out.
    """
    from evaluation.learning.annotated import learnt_labels, prepare
    from evaluation.learning.classifier import tune

    train, validate, test = prepare(train, validate, test, levels, exclusive=True)
    classifier = tune(method, train, validate, settings, repeat, exclusive=True, progress=progress)

    def grade(images: LabelledImages) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        scored = Scored.of(images.images, unit)
        scores = scored.average(classifier.probabilities(images.pixels, exclusive=True))
        return scores, scored.join_labels(images.labels, exclusive=True), scored.subjects

    thresholds = zero_shot_classification.best_thresholds(*grade(validate)[:2])
    scores, labels, subjects = grade(test)
    known = learnt_labels(train, labels)
    values = zero_shot_classification.score(scores, known, levels, subjects, thresholds, resamples=resamples)
    return [value for value in values if value.metric in METRICS]
