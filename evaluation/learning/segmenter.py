"""A decoder on the maps of an image encoder, frozen or tuned: how it is trained and scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from evaluation.errors import EvaluationError
from evaluation.inference import predict_batches
from evaluation.learning.annotated import MaskedImages
from evaluation.learning.fitting import (
    FitOptions,
    Progress,
    fit,
    image_tensor,
    own_patients,
    seeded,
)
from evaluation.learning.unet import Segmenter, segmentation_loss
from evaluation.metrics.classification import RESAMPLES, patient_weights, weighted_means
from evaluation.metrics.values import ResultValue, summarise
from imaging.augment import Augmentation, AugmentationConfig
from models.method import Method

if TYPE_CHECKING:
    from evaluation.tasks.segmentation import SegmentationSettings


def fit_and_score(
    method: Method,
    train: MaskedImages,
    validate: MaskedImages,
    test: MaskedImages,
    class_name: str,
    settings: SegmentationSettings,
    repeat: int,
    tuned: bool = False,
    resamples: int = RESAMPLES,
    progress: Progress | None = None,
) -> list[ResultValue]:
    """Mean Dice and IoU over the images of `test`, and mean Dice over those with a mask, of masks of `class_name`.

    `tuned` says whether the copy of the encoder is trained with its decoder. Images of `train` whose patient is also in
    another split are left out. The weights are those of the validation with the lowest loss: a Dice to which empty
    masks on negative images count as right would choose a decoder that finds nothing.
    """
    for images in (train, validate, test):
        _check(images)
    train = train.select(own_patients(train.subjects, validate.subjects, test.subjects))
    segmenter = _fit(method, train, validate, settings, repeat, tuned, progress)
    overlaps = overlap(_measure_all(segmenter, test, settings.batch_size, _areas))
    weights = patient_weights(test.subjects, resamples, seed=0)  # the same for every repeat and method
    values = []
    for metric, column in overlaps.items():
        points, resampled = weighted_means(column[:, None], weights)
        values += summarise(metric, [class_name], points, resampled, np.array([np.isfinite(column).sum()]))
    return values


def overlap(areas: np.ndarray) -> dict[str, np.ndarray]:
    """Dice, IoU and Dice of positive images (n,), from the pixels that are shared, predicted and true (n, 3)."""
    shared, predicted, true = areas.T.astype(np.float64)
    both, empty = predicted + true, predicted + true == 0
    dice = np.where(empty, 1.0, 2 * shared / np.maximum(both, 1))
    iou = np.where(empty, 1.0, shared / np.maximum(both - shared, 1))
    return {"dice": dice, "iou": iou, "dice_positive": np.where(true > 0, dice, np.nan)}


def _fit(
    method: Method,
    train: MaskedImages,
    validate: MaskedImages,
    settings: SegmentationSettings,
    repeat: int,
    tuned: bool,
    progress: Progress | None,
) -> Segmenter:
    device = method.device
    loss, move = segmentation_loss(settings.loss), _movement(settings, train.masks.shape[-1])

    with seeded(repeat, device):
        shapes = [maps.shape[1:] for maps in predict_batches(method, train.pixels[:1], method.image_maps)]
        segmenter = Segmenter(deepcopy(method).requires_grad_(tuned), shapes, settings.width, settings.decoder).to(
            device
        )

        def loss_of(rows: np.ndarray) -> Tensor:
            images, masks = move(*_tensors(train, rows, device))
            return loss(segmenter(images), masks)

        def quality() -> float:
            return -float(_measure_all(segmenter, validate, settings.batch_size, loss_per_image).mean())

        def loss_per_image(logits: Tensor, masks: Tensor) -> Tensor:
            return loss(logits, masks).expand(len(logits))

        validation = quality if len(validate) else None
        fit(segmenter, loss_of, len(train), validation, FitOptions.of(settings), repeat, progress)
    return segmenter


def _movement(settings: SegmentationSettings, size: int) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Turns, scales and shifts some of the images together with their masks."""
    names = ("rotation", "scaling", "translation")
    augmentation = Augmentation(AugmentationConfig(**{name: getattr(settings, name) for name in names}), size)

    def move(images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        before = torch.cat([images.float(), masks], dim=1)
        chosen = torch.rand(len(before), 1, 1, 1) < settings.augmented
        after = torch.where(chosen.to(before.device), augmentation(before), before)
        return after[:, :1], (after[:, 1:] > 0.5).float()

    return move


def _tensors(images: MaskedImages, rows: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images and masks, both (rows, 1, size, size), the masks as 0.0 and 1.0."""
    masks = torch.from_numpy(images.masks[rows])[:, None].to(device).float()
    return image_tensor(images.pixels, rows, device), masks


def _measure_all(
    segmenter: Segmenter, images: MaskedImages, batch_size: int, measure: Callable[[Tensor, Tensor], Tensor]
) -> np.ndarray:
    """What `measure` makes of logits and masks (batch, 1, size, size), batch by batch: (n, ...)."""
    device = segmenter.method.device

    def measurements() -> Iterator[np.ndarray]:
        for start in range(0, len(images), batch_size):
            rows = np.arange(start, min(start + batch_size, len(images)))
            batch, masks = _tensors(images, rows, device)
            yield measure(segmenter(batch), masks).cpu().numpy()

    with torch.inference_mode():
        return np.concatenate(list(measurements()))


def _areas(logits: Tensor, masks: Tensor) -> Tensor:
    """(batch, 3) pixels that are shared, predicted and true."""
    predicted, true = logits > 0, masks > 0
    return torch.stack([part.sum((1, 2, 3)) for part in (predicted & true, predicted, true)], dim=1)


def _check(images: MaskedImages) -> None:
    rows, size = len(images), images.pixels[:1].shape[1:]
    if images.masks.shape != (rows, *size) or images.masks.dtype != bool:
        raise EvaluationError(
            f"{rows} images of {size} pixels and masks {images.masks.shape} of "
            f"{images.masks.dtype} do not fit together: there is one boolean mask per image, of its size."
        )
