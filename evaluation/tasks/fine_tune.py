"""Fine-tuning: a linear layer on the image encoder, trained together with it on a fraction of the labelled images.

MedKLIP (arXiv 2301.02228) trains all layers at once at a constant rate; ConVIRT (arXiv 2010.00747) trains the linear
layer alone first, and then everything. Every label has a sigmoid of its own, and an unknown one teaches nothing; where
an image has exactly one of the classes (COVIDx, the grades of edema) they share a softmax.

What the published codes do and this does not: train and validate overlap (the CheXpert of GLoRIA and MGCA), which here
have no patient in common with each other or with test; validation is augmented (MedKLIP's and ConVIRT-pytorch's
pretraining); the last images of an epoch are dropped and those of a fraction are chosen without a seed (MedKLIP);
images are mirrored under labels that name a side; decisions are taken at thresholds of the test set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cohorts.dataset import CLASSES
from evaluation.metrics.values import ResultValue
from evaluation.tasks.base import ONCE, Setting, Task
from store.settings import setting as option

if TYPE_CHECKING:
    from evaluation.predictions import Predictions


@dataclass(frozen=True)
class FineTuneSettings:
    """How an encoder is tuned; the defaults are MedKLIP's where it says something."""

    learning_rate: float = option(1e-5, "Learning rate of all layers, constant; ConVIRT: 1e-4.", least=0.0)
    head_first: bool = option(False, "Train the linear layer alone before all layers, as ConVIRT.")
    head_learning_rate: float = option(
        1e-3, "Learning rate of the linear layer while it is trained alone (ConVIRT).", least=0.0
    )
    optimizer: str = option("adamw", "adamw or adam.")
    weight_decay: float = option(0.02, "As in MedKLIP's pretraining; ConVIRT: 1e-6.", least=0.0)
    batch_size: int = option(64, "Images in a step.", least=1)
    epochs: int = option(100, "Epochs at most.", least=1)
    patience: int = option(10, "Validations without a better AUROC after which it ends (BenchX); 0: never.", least=0)
    maximum_steps: int = option(0, "Steps at most in each phase; 0: as many as the epochs have.", least=0)
    validate_every: int = option(
        0, "Steps at least between two validations, for fractions whose epochs are short.", least=0
    )
    crop_scale: float = option(
        0.6, "Smallest share of the area that a random crop keeps (ConVIRT); MedKLIP: 0.2.", least=0.0
    )
    rotation: float = option(0.0, "Random rotation, degrees either way; ConVIRT: 20.", least=0.0)
    brightness: float = option(0.0, "0.4 means grey levels times 0.6 to 1.4 (ConVIRT).", least=0.0)
    contrast: float = option(0.0, "0.4 means distances from the mean times 0.6 to 1.4 (ConVIRT).", least=0.0)
    horizontal_flip: float = option(
        0.0, "Probability of mirroring; the published codes mirror half of the images, and sides with them.", least=0.0
    )


class FineTune(Task):
    """What a classifier learns that starts from the network and tunes all of its layers."""

    name = "fine_tune"
    purpose = CLASSES
    leading = "auroc"
    selection = "The epoch that is kept is the best on the validate split."
    learning = ONCE
    settings = FineTuneSettings

    def score(self, predictions: Predictions, setting: Setting, settings: FineTuneSettings) -> Sequence[ResultValue]:
        """AUROC per class and their mean; accuracy where the classes exclude one another."""
        from evaluation.learning.annotated import label_splits
        from evaluation.learning.classifier import fit_and_score

        names, train, validate, test = label_splits(predictions.dataset, setting)
        if not names or not len(train) or not len(test):
            return []
        exclusive = predictions.dataset.facts.exclusive and len(names) > 1
        data = train, validate, test
        return fit_and_score(predictions.method, *data, names, settings, setting.repeat, exclusive, setting.unit)
