"""A YOLOv3 head on a frozen encoder: how it is trained, how its boxes are read and scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from evaluation.errors import EvaluationError
from evaluation.learning.annotated import BoxedImages
from evaluation.learning.fitting import FitOptions, Progress, fit, own_patients, seeded
from evaluation.learning.frozen_maps import FrozenMaps, whole_image_encoder
from evaluation.learning.yolo import YoloHead, detect, loss
from evaluation.learning.yolo_priors import Priors
from evaluation.metrics.average_precision import Found, average_precision
from evaluation.metrics.classification import RESAMPLES, patient_weights
from evaluation.metrics.values import MACRO, ResultValue, summarise
from models.method import Method

if TYPE_CHECKING:
    from evaluation.tasks.detection import DetectionSettings

OVERLAPS = (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75)  # MGCA and LoVT; MGCA's paper prints 0.65 for 0.55
IMAGES_AT_ONCE = 32  # whose boxes are found


class Detector:
    """A head for the maps of an encoder, and how its boxes are read."""

    def __init__(self, maps: FrozenMaps, settings: DetectionSettings) -> None:
        self.settings, self.encoder, self.side, self.device = settings, maps.encoder, maps.encoder.size, maps.device
        self.priors = Priors.over([(rows, columns) for _, rows, columns in maps.shapes], self.side).to(self.device)
        self.head = YoloHead([channels for channels, _, _ in maps.shapes], settings.width).to(self.device)

    def loss(self, maps: Sequence[Tensor], boxes: Sequence[np.ndarray], image_side: int) -> Tensor:
        """Of images and their boxes (k, 4), which are in pixels of an image of `image_side`."""
        images = np.repeat(np.arange(len(boxes)), [len(corners) for corners in boxes])
        corners = np.concatenate([*boxes, np.empty((0, 4))]) * (self.side / image_side)
        truth = torch.from_numpy(corners).float().to(self.device), torch.from_numpy(images).to(self.device)
        return loss(self.outputs(maps), self.priors, *truth)

    def outputs(self, maps: Sequence[Tensor]) -> Tensor:
        """The head's, in the precision of the encoder."""
        with self.encoder.autocast():
            found: Tensor = self.head(maps)
        return found

    @torch.inference_mode()
    def find(self, maps: FrozenMaps, image_side: int) -> Found:
        """The boxes on all images, in pixels of an image of `image_side`."""
        self.head.eval()
        parts = []
        for first in range(0, len(maps), IMAGES_AT_ONCE):
            outputs = self.outputs(maps[first : first + IMAGES_AT_ONCE])
            images, corners, scores = detect(
                outputs, self.priors, self.side, self.settings.confidence, self.settings.suppression
            )
            corners = corners * (image_side / self.side)
            parts.append([tensor.cpu().numpy() for tensor in (images + first, corners, scores)])
        return Found(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def fit_and_score(
    method: Method,
    train: BoxedImages,
    validate: BoxedImages,
    test: BoxedImages,
    settings: DetectionSettings,
    repeat: int,
    resamples: int = RESAMPLES,
    progress: Progress | None = None,
) -> list[ResultValue]:
    """Average precision on `test` of a head that was trained on `train`: see `score`.

    Images of `train` whose patient is also in another split are left out. The head is that of the validation with the
    best mean average precision, or the last one where `validate` has no box. `repeat` seeds its weights and the order
    of the images. `method` is not trained; NotAvailableError where it has no feature maps.
    """
    for images in (train, validate, test):
        _check(images)
    train = train.select(own_patients(train.subjects, validate.subjects, test.subjects))
    encoder = whole_image_encoder(method)
    detector = train_detector(encoder, train, validate, settings, repeat, progress)
    found = detector.find(FrozenMaps(encoder, test.pixels, memory=0), test.side)
    return score(found, test.boxes, test.subjects, settings.skip_empty, resamples)


def train_detector(
    encoder: Method,
    train: BoxedImages,
    validate: BoxedImages,
    settings: DetectionSettings,
    repeat: int,
    progress: Progress | None = None,
) -> Detector:
    """A detector on the maps of an encoder that takes whole images."""
    maps, side = FrozenMaps(encoder, train.pixels, settings.map_memory), train.side
    with seeded(repeat, maps.device):
        detector = Detector(maps, settings)

        def loss_of(rows: np.ndarray) -> Tensor:
            return detector.loss(maps[rows], [train.boxes[row] for row in rows], side)

        quality = _quality(encoder, detector, validate, settings)
        fit(detector.head, loss_of, len(maps), quality, FitOptions.of(settings), repeat, progress)
    return detector


def score(
    found: Found,
    truth: Sequence[np.ndarray],
    subjects: np.ndarray,
    skip_empty: bool = False,
    resamples: int = RESAMPLES,
) -> list[ResultValue]:
    """`map`, the mean over OVERLAPS, and `ap_40` to `ap_75` at each: of class MACRO, and n counts images.

    `truth` has the true boxes (k, 4) of every image. None where no image has one.
    """
    counted = np.ones(len(truth), bool)
    if skip_empty:
        counted = np.isin(np.arange(len(truth)), found.images) & [len(corners) > 0 for corners in truth]
    weights = patient_weights(subjects, resamples, seed=0)  # the same for every repeat and method
    weights = np.concatenate([np.ones((1, len(truth))), weights]) * counted
    areas = average_precision(found, truth, OVERLAPS, weights)
    columns = {"map": areas.mean(axis=1)} | {
        f"ap_{round(100 * overlap)}": column for overlap, column in zip(OVERLAPS, areas.T, strict=True)
    }
    return [
        summarise(metric, [MACRO], column[:1], column[1:, None], counted.sum(keepdims=True))[0]
        for metric, column in columns.items()
    ]


def _quality(
    encoder: Method, detector: Detector, validate: BoxedImages, settings: DetectionSettings
) -> Callable[[], float] | None:
    """Mean average precision on the validate split, of which all images count; None where it has no box."""
    if not any(len(corners) for corners in validate.boxes):
        return None
    maps, side = FrozenMaps(encoder, validate.pixels, settings.map_memory), validate.side
    every = np.ones((1, len(maps)))
    return lambda: float(average_precision(detector.find(maps, side), validate.boxes, OVERLAPS, every).mean())


def _check(images: BoxedImages) -> None:
    if len(images.boxes) != len(images):
        raise EvaluationError(f"{len(images)} images and the boxes of {len(images.boxes)} images do not fit together.")
    boxes = np.concatenate([*images.boxes, np.empty((0, 4))])
    inside = (boxes >= 0) & (boxes <= images.side) if len(boxes) else np.ones(1, bool)
    if not inside.all() or not (boxes[:, :2] < boxes[:, 2:]).all():
        raise EvaluationError("A box is empty, or reaches out of its image: check the boxes of the studies table.")
