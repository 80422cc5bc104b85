"""Fine-tuning: a linear layer on the image encoder, trained together with it on a fraction of the labelled films.

MedKLIP (arXiv 2301.02228) trains all layers at once at a constant rate; ConVIRT (arXiv 2010.00747) trains the linear
layer alone first, and then everything. Every label has a sigmoid of its own, and an unknown one teaches nothing; where
a film has exactly one of the classes (COVIDx, the grades of edema) they share a softmax.

What the published codes do and this does not: train and validate overlap (the CheXpert of GLoRIA and MGCA), which here
have no patient in common with each other or with test; validation is augmented (MedKLIP's and ConVIRT-pytorch's
pretraining); the last films of an epoch are dropped and those of a fraction are drawn without a seed (MedKLIP); films
are mirrored under labels that name a side; decisions are taken at thresholds of the test set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import expit, softmax
from torch import Tensor, nn

from evaluation.inference import ask
from evaluation.learning.fitting import Films, FitOptions, Progress, film_tensor, fit, mixed_precision, seeded
from evaluation.learning.labelled_images import LabelledFilms, learnt_labels, prepare
from evaluation.metrics.classification import RESAMPLES, accuracy, auroc, aurocs, patient_weights, scorable
from evaluation.metrics.values import ResultValue, summarise, with_positives
from imaging.augment import Augmentation, AugmentationConfig
from models.method import Method

TASK = "fine_tune"
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class FineTuneConfig:
    """How an encoder is tuned; the defaults are MedKLIP's where it says something."""

    learning_rate: float = 1e-5  # of all layers, constant; ConVIRT: 1e-4
    head_first: bool = False  # ConVIRT: the linear layer alone is trained before all layers are
    head_learning_rate: float = 1e-3  # of the linear layer while it is trained alone (ConVIRT)
    optimizer: str = "adamw"  # or adam
    weight_decay: float = 0.02  # as in MedKLIP's pretraining; ConVIRT: 1e-6
    batch_size: int = 64  # films in a step
    epochs: int = 100  # at most
    patience: int = 10  # validations without a better AUROC after which it ends (BenchX); 0: never
    maximum_steps: int = 0  # in each phase; 0: as many as the epochs have
    validate_every: int = 0  # steps at least between two validations, for fractions whose epochs are short
    crop_scale: float = 0.6  # smallest share of the area that a random crop keeps (ConVIRT); MedKLIP: 0.2
    rotation: float = 0.0  # degrees either way; ConVIRT: 20
    brightness: float = 0.0  # 0.4 means grey levels times 0.6 to 1.4 (ConVIRT)
    contrast: float = 0.0  # 0.4 means distances from the mean times 0.6 to 1.4 (ConVIRT)
    horizontal_flip: float = 0.0  # probability; the published codes mirror half of the films, and sides with them


class Classifier(nn.Module):
    """A linear layer on the features of a method's image encoder."""

    def __init__(self, method: Method, dim: int, classes: int) -> None:
        super().__init__()
        self.method = method
        self.head = nn.Linear(dim, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch, classes) of grey levels 0..255 (batch, 1, side, side)."""
        logits: Tensor = self.head(self.method.image_features(images))
        return logits

    def logits(self, pixels: Films) -> np.ndarray:
        """(n, classes) float32 of `pixels`, without gradients."""
        if not len(pixels):
            return np.empty((0, self.head.out_features), np.float32)
        with mixed_precision(self.head.weight.device):
            return ask(self, pixels, lambda images: [self(images)])[0]

    def probabilities(self, pixels: Films, exclusive: bool) -> np.ndarray:
        """(n, classes) float64: a softmax over classes that are `exclusive`, else of each class by itself."""
        logits = self.logits(pixels).astype(np.float64)
        return softmax(logits, axis=1) if exclusive else expit(logits)


def fit_and_score(
    method: Method,
    train: LabelledFilms,
    validate: LabelledFilms,
    test: LabelledFilms,
    classes: Sequence[str],
    config: FineTuneConfig,
    draw: int,
    exclusive: bool = False,
    resamples: int = RESAMPLES,
    progress: Progress | None = None,
) -> list[ResultValue]:
    """AUROC on `test` of a copy of `method` that was tuned on `train`, per class and their mean.

    Where the classes are `exclusive`, also the accuracy of the most probable one: one row, of class MACRO, whose n
    counts films. Films of `train` whose patient is also in another split are left out. A class of which `train` or
    `test` has only one label has a row with value None and is not in the mean.
    """
    train, validate, test = prepare(train, validate, test, classes, exclusive)
    scores = tune(method, train, validate, config, draw, exclusive, progress).probabilities(test.pixels, exclusive)
    weights = patient_weights(test.subjects, resamples, seed=0)  # the same for every draw and method
    labels = learnt_labels(train, test)
    points, resampled = aurocs(labels, scores, weights)
    values = summarise("auroc", classes, points, resampled, (~np.isnan(labels)).sum(axis=0))
    values = with_positives(values, classes, test.labels)
    return [*values, accuracy(test.labels, scores, weights)] if exclusive else values


def tune(
    method: Method,
    train: LabelledFilms,
    validate: LabelledFilms,
    config: FineTuneConfig,
    draw: int,
    exclusive: bool,
    progress: Progress | None = None,
) -> Classifier:
    """A classifier on a copy of `method`, tuned on films that were prepared.

    The weights are those of the validation with the best mean AUROC, or with the lowest loss where `validate` has no
    class with both labels. `draw` seeds everything that is random.
    """
    device = next(method.parameters()).device
    loss: Loss = exclusive_loss if exclusive else independent_loss
    targets = torch.from_numpy(train.labels).float().to(device)
    augmentation = _augmentation(config, train.pixels)

    with seeded(draw, device):
        dim = ask(method, train.pixels[:1], lambda images: [method.image_features(images)])[0].shape[1]
        classifier = Classifier(deepcopy(method), dim, targets.shape[1]).to(device)

        def loss_of(rows: np.ndarray) -> Tensor:
            flipped = torch.rand(len(rows)) < config.horizontal_flip
            images = augmentation(film_tensor(train.pixels, rows, device), flipped)
            return loss(classifier(images), targets[rows])

        quality, films, options = _quality(classifier, validate, loss), len(train.subjects), FitOptions.of(config)
        if config.head_first:
            classifier.method.requires_grad_(False)
            alone = replace(options, learning_rate=config.head_learning_rate)
            fit(classifier, loss_of, films, quality, alone, draw, progress)
        classifier.method.requires_grad_(True)
        fit(classifier, loss_of, films, quality, options, draw, progress)
    return classifier


def independent_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross entropy over the known labels, both (batch, classes)."""
    known = ~labels.isnan()
    return F.binary_cross_entropy_with_logits(logits[known], labels[known])


def exclusive_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Softmax cross entropy of the films whose class is known, both (batch, classes)."""
    known = ~labels.isnan().any(dim=1)
    return F.cross_entropy(logits[known], labels[known].argmax(dim=1))


def _augmentation(config: FineTuneConfig, pixels: Films) -> Augmentation:
    names = ("crop_scale", "rotation", "brightness", "contrast")
    options = AugmentationConfig(**{name: getattr(config, name) for name in names})
    return Augmentation(options, pixels[:1].shape[-1])


def _quality(classifier: Classifier, validate: LabelledFilms, loss: Loss) -> Callable[[], float] | None:
    """How good the classifier is on the validate split; None where nothing is known there."""
    labels = validate.labels
    if np.isnan(labels).all():
        return None
    both = [column for column in range(labels.shape[1]) if scorable(labels[:, column])]

    def measured() -> float:
        logits = classifier.logits(validate.pixels)
        if not both:
            return -loss(torch.from_numpy(logits), torch.from_numpy(labels).float()).item()
        return float(np.mean([auroc(labels[:, column], logits[:, column]) for column in both]))

    return measured
