"""A classifier on the image encoder of a method, trained together with it on labelled images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import expit, softmax
from torch import Tensor, nn

from evaluation.inference import IndexedPixels, predict_batches
from evaluation.learning.annotated import LabelledImages, learnt_labels, prepare
from evaluation.learning.fitting import FitOptions, Progress, fit, image_tensor, seeded
from evaluation.metrics.classification import RESAMPLES, accuracy, auroc, aurocs, is_scorable, patient_weights
from evaluation.metrics.units import IMAGE, Scored
from evaluation.metrics.values import ResultValue, add_positives, summarise
from imaging.augment import Augmentation, AugmentationConfig
from models.method import Method

if TYPE_CHECKING:
    from evaluation.tasks.fine_tune import FineTuneSettings

Loss = Callable[[Tensor, Tensor], Tensor]


class Classifier(nn.Module):
    """A linear layer on the features of a method's image encoder."""

    def __init__(self, method: Method, dim: int, classes: int) -> None:
        super().__init__()
        self.method = method
        self.head = nn.Linear(dim, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch, classes) of grey levels 0..255 (batch, 1, side, side)."""
        with self.method.autocast():
            logits: Tensor = self.head(self.method.image_features(images))
        return logits.float()

    def logits(self, pixels: IndexedPixels) -> np.ndarray:
        """(n, classes) float32 of `pixels`, without gradients."""
        if not len(pixels):
            return np.empty((0, self.head.out_features), np.float32)
        return predict_batches(self, pixels, lambda images: [self(images)])[0]

    def probabilities(self, pixels: IndexedPixels, exclusive: bool) -> np.ndarray:
        """(n, classes) float64: a softmax over classes that are `exclusive`, else of each class by itself."""
        logits = self.logits(pixels).astype(np.float64)
        return softmax(logits, axis=1) if exclusive else expit(logits)


def fit_and_score(
    method: Method,
    train: LabelledImages,
    validate: LabelledImages,
    test: LabelledImages,
    classes: Sequence[str],
    settings: FineTuneSettings,
    repeat: int,
    exclusive: bool = False,
    unit: str = IMAGE,
    resamples: int = RESAMPLES,
    progress: Progress | None = None,
) -> list[ResultValue]:
    """AUROC on `test` of a copy of `method` that was tuned on `train`, per class and their mean.

    Where the classes are `exclusive`, also the accuracy of the most probable one: one row, of class MACRO, whose n
    counts images. Images of `train` whose patient is also in another split are left out. A class of which `train` or
    `test` has only one label has a row with value None and is not in the mean. What has one score is the `unit`.
    """
    train, validate, test = prepare(train, validate, test, classes, exclusive)
    scores = tune(method, train, validate, settings, repeat, exclusive, progress).probabilities(test.pixels, exclusive)
    scored = Scored.of(test.images, unit)
    scores, present = scored.average(scores), scored.join_labels(test.labels, exclusive)
    weights = patient_weights(scored.subjects, resamples, seed=0)  # the same for every repeat and method
    labels = learnt_labels(train, present)
    points, resampled = aurocs(labels, scores, weights)
    values = summarise("auroc", classes, points, resampled, (~np.isnan(labels)).sum(axis=0))
    values = add_positives(values, classes, present)
    return [*values, accuracy(present, scores, weights)] if exclusive else values


def tune(
    method: Method,
    train: LabelledImages,
    validate: LabelledImages,
    settings: FineTuneSettings,
    repeat: int,
    exclusive: bool,
    progress: Progress | None = None,
) -> Classifier:
    """A classifier on a copy of `method`, tuned on images that were prepared.

    The weights are those of the validation with the best mean AUROC, or with the lowest loss where `validate` has no
    class with both labels. `repeat` seeds everything that is random.
    """
    device = method.device
    loss: Loss = exclusive_loss if exclusive else independent_loss
    targets = torch.from_numpy(train.labels).float().to(device)
    augmentation = _augmentation(settings, train.side)

    with seeded(repeat, device):
        features = predict_batches(method, train.pixels[:1], lambda batch: [method.image_features(batch)])[0]
        classifier = Classifier(deepcopy(method), features.shape[1], targets.shape[1]).to(device)

        def loss_of(rows: np.ndarray) -> Tensor:
            flipped = torch.rand(len(rows)) < settings.horizontal_flip
            images = augmentation(image_tensor(train.pixels, rows, device), flipped)
            return loss(classifier(images), targets[rows])

        quality, count, options = _quality(classifier, validate, loss), len(train), FitOptions.of(settings)
        if settings.head_first:
            classifier.method.requires_grad_(False)
            alone = replace(options, learning_rate=settings.head_learning_rate)
            fit(classifier, loss_of, count, quality, alone, repeat, progress)
        classifier.method.requires_grad_(True)
        fit(classifier, loss_of, count, quality, options, repeat, progress)
    return classifier


def independent_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross entropy over the known labels, both (batch, classes)."""
    known = ~labels.isnan()
    return F.binary_cross_entropy_with_logits(logits[known], labels[known])


def exclusive_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Softmax cross entropy of the images whose class is known, both (batch, classes)."""
    known = ~labels.isnan().any(dim=1)
    return F.cross_entropy(logits[known], labels[known].argmax(dim=1))


def _augmentation(settings: FineTuneSettings, side: int) -> Augmentation:
    names = ("crop_scale", "rotation", "brightness", "contrast")
    options = AugmentationConfig(**{name: getattr(settings, name) for name in names})
    return Augmentation(options, side)


def _quality(classifier: Classifier, validate: LabelledImages, loss: Loss) -> Callable[[], float] | None:
    """How good the classifier is on the validate split; None where nothing is known there."""
    labels = validate.labels
    if np.isnan(labels).all():
        return None
    both = [column for column in range(labels.shape[1]) if is_scorable(labels[:, column])]

    def measure() -> float:
        logits = classifier.logits(validate.pixels)
        if not both:
            return -loss(torch.from_numpy(logits), torch.from_numpy(labels).float()).item()
        return float(np.mean([auroc(labels[:, column], logits[:, column]) for column in both]))

    return measure
