"""Detection: a YOLOv3 head on the frozen encoder finds the boxes of a finding, as in MGCA (arXiv 2210.06044, 4.3).

The metric is COCO's average precision, as a mean over overlaps of 0.4 to 0.75. All images of the test split count: a
box found on an image without any is wrong, and boxes of an image on which nothing is found are missed. MGCA's code
skips both kinds of images, and leaves out boxes less than 0.5 sure before it computes the curve, which cuts it short;
`skip_empty` and `confidence` do the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cohorts.dataset import BOXES
from evaluation.metrics.values import ResultValue
from evaluation.tasks.base import ONCE, REGION_TABLE, Setting, Task
from store.settings import setting as option

if TYPE_CHECKING:
    from evaluation.predictions import Predictions


@dataclass(frozen=True)
class DetectionSettings:
    """How a head is trained and read; the defaults are MGCA's, but for `confidence`."""

    learning_rate: float = option(5e-4, "Constant; MGCA for 1 % of the labels: 2e-4 to 2.5e-4.", least=0.0)
    weight_decay: float = option(1e-6, "Weight decay of AdamW.", least=0.0)
    batch_size: int = option(16, "Images in a step; MGCA for 1 % of the labels: 8.", least=1)
    epochs: int = option(50, "Epochs at most.", least=1)
    patience: int = option(
        10, "Validations without a better mean average precision after which it ends; 0: never.", least=0
    )
    maximum_steps: int = option(0, "Steps at most in all; 0: as many as the epochs have.", least=0)
    validate_every: int = option(
        0, "Steps at least between two validations, for fractions whose epochs are short.", least=0
    )
    width: int = option(
        512, "Channels of the head on the coarsest map, half as many on each finer one (YOLOv3).", least=1
    )
    confidence: float = option(
        0.01, "Boxes less sure than this are left out; MGCA's code: 0.5, which truncates the curve.", least=0.0
    )
    suppression: float = option(0.5, "Overlap with a surer box from which on a box is left out.", least=0.0)
    skip_empty: bool = option(False, "Images without true or without found boxes do not count, as in MGCA's code.")
    map_memory: int = option(
        4096, "Megabytes of feature maps kept of each split; of larger splits they are computed anew.", least=0
    )


class Detection(Task):
    """Boxes that a YOLOv3 head finds on the frozen network, as in MGCA."""

    name = "detection"
    purpose = BOXES
    only_images = "a box lies on one image."
    leading = "map"
    selection = "The epoch that is kept is the best on the validate split."
    learning = ONCE
    reads = (REGION_TABLE,)
    settings = DetectionSettings

    def score(self, predictions: Predictions, setting: Setting, settings: DetectionSettings) -> Sequence[ResultValue]:
        """Average precision at several overlaps and its mean."""
        from evaluation.learning.annotated import BoxedImages
        from evaluation.learning.detector import fit_and_score

        assert setting.fraction is not None
        dataset = predictions.dataset
        train, validate, test = (
            BoxedImages(images, dataset.boxes(images)) for images in dataset.splits(setting.fraction, setting.repeat)
        )
        if not len(train) or not any(len(boxes) for boxes in test.boxes):
            return []
        return fit_and_score(predictions.method, train, validate, test, settings, setting.repeat)
