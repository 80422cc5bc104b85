"""Segmentation: a U-Net's decoder on the maps of the image encoder, which stays frozen (MGCA) or is tuned (MedKLIP).

The decoder is that of segmentation_models_pytorch, as in MGCA (arXiv 2210.06044, 4.2); the one map of a transformer is
enlarged step by step (SETR's PUP, arXiv 2012.15840). A film is scored by itself, at a probability of 0.5 and at the
size of its mask. One without a mask scores 1 if nothing is predicted, else 0; `dice_positive` leaves such films out.

What the published codes do and this does not: splits are drawn over the rows of a table that has several per film, so
that a third of SIIM's positive test films are trained on (GLoRIA, MGCA); the batch norms of a frozen encoder go on
counting, and masks are resized before they are turned with their film (MGCA), while here both are moved as one at
their own size; the Dice of a test set is a mean over batches (MGCA) or lacks its last films (MedKLIP), while here it is
the mean over all films.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evaluation.errors import EvaluationError
from evaluation.inference import ask
from evaluation.learning.fitting import (
    ChosenFilms,
    Films,
    FitOptions,
    Progress,
    film_tensor,
    fit,
    mixed_precision,
    own_patients,
    seeded,
)
from evaluation.learning.segmenter import LOSSES, Segmenter, segmentation_loss
from evaluation.metrics.classification import RESAMPLES, patient_weights, weighted_means
from evaluation.metrics.values import ResultValue, summarise
from imaging.augment import Augmentation, AugmentationConfig
from models.method import Method

TASK = "segmentation"


@dataclass(frozen=True)
class SegmentationConfig:
    """How a decoder is trained; the defaults are MGCA's."""

    loss: str = "mgca"  # mgca: 10 x focal - log(Dice); medklip: binary cross entropy + 1 - Dice
    width: int = 16  # channels of the decoder's last block; every block before it has twice as many
    learning_rate: float = 2e-4  # constant; MGCA's scripts: 5e-4
    optimizer: str = "adamw"  # or adam
    weight_decay: float = 0.05  # of kernels
    batch_size: int = 16  # films in a step
    epochs: int = 50  # at most
    patience: int = 10  # validations without a lower loss after which it ends; 0: never
    maximum_steps: int = 0  # 0: as many as the epochs have
    validate_every: int = 0  # steps at least between two validations, for fractions whose epochs are short
    augmented: float = 0.5  # share of the films that are moved, mask and all
    rotation: float = 10.0  # degrees either way
    scaling: float = 0.1  # 0.1 means 0.9 to 1.1 times as large
    translation: float = 0.0  # share of the side either way

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise EvaluationError(f"loss is `{self.loss}`, but must be one of {', '.join(LOSSES)}.")


@dataclass(frozen=True)
class MaskedFilms:
    """Films of a split and what is to be found on them."""

    pixels: Films  # (n, size, size) uint8
    masks: np.ndarray  # (n, size, size) bool; all False where there is nothing
    subjects: np.ndarray  # (n,) patients

    def select(self, rows: np.ndarray) -> MaskedFilms:
        """Those of `rows`, which are indices."""
        return MaskedFilms(ChosenFilms(self.pixels, rows), self.masks[rows], self.subjects[rows])


def fit_and_score(
    method: Method,
    train: MaskedFilms,
    validate: MaskedFilms,
    test: MaskedFilms,
    class_name: str,
    config: SegmentationConfig,
    draw: int,
    tuned: bool = False,
    resamples: int = RESAMPLES,
    progress: Progress | None = None,
) -> list[ResultValue]:
    """Mean Dice and IoU over the films of `test`, and mean Dice over those with a mask, of masks of `class_name`.

    `tuned` says whether the copy of the encoder is trained with its decoder. Films of `train` whose patient is also in
    another split are left out. The weights are those of the validation with the lowest loss: a Dice to which empty
    masks on negative films count as right would choose a decoder that finds nothing.
    """
    for films in (train, validate, test):
        _check(films)
    train = train.select(own_patients(train.subjects, validate.subjects, test.subjects))
    segmenter = _fitted(method, train, validate, config, draw, tuned, progress)
    overlaps = overlap(_measured(segmenter, test, config.batch_size, _areas))
    weights = patient_weights(test.subjects, resamples, seed=0)  # the same for every draw and method
    values = []
    for metric, column in overlaps.items():
        points, resampled = weighted_means(column[:, None], weights)
        values += summarise(metric, [class_name], points, resampled, np.array([np.isfinite(column).sum()]))
    return values


def overlap(areas: np.ndarray) -> dict[str, np.ndarray]:
    """Dice, IoU and Dice of positive films (n,), from the pixels that are shared, predicted and true (n, 3)."""
    shared, predicted, true = areas.T.astype(np.float64)
    both, empty = predicted + true, predicted + true == 0
    dice = np.where(empty, 1.0, 2 * shared / np.maximum(both, 1))
    iou = np.where(empty, 1.0, shared / np.maximum(both - shared, 1))
    return {"dice": dice, "iou": iou, "dice_positive": np.where(true > 0, dice, np.nan)}


def _fitted(
    method: Method,
    train: MaskedFilms,
    validate: MaskedFilms,
    config: SegmentationConfig,
    draw: int,
    tuned: bool,
    progress: Progress | None,
) -> Segmenter:
    device = next(method.parameters()).device
    loss, move = segmentation_loss(config.loss), _movement(config, train.masks.shape[-1])

    with seeded(draw, device):
        shapes = [maps.shape[1:] for maps in ask(method, train.pixels[:1], method.image_maps)]
        segmenter = Segmenter(deepcopy(method).requires_grad_(tuned), shapes, config.width).to(device)

        def loss_of(rows: np.ndarray) -> Tensor:
            images, masks = move(*_tensors(train, rows, device))
            return loss(segmenter(images), masks)

        def quality() -> float:
            return -float(_measured(segmenter, validate, config.batch_size, loss_of_films).mean())

        def loss_of_films(logits: Tensor, masks: Tensor) -> Tensor:
            return loss(logits, masks).expand(len(logits))

        checked = quality if len(validate.subjects) else None
        fit(segmenter, loss_of, len(train.subjects), checked, FitOptions.of(config), draw, progress)
    return segmenter


def _movement(config: SegmentationConfig, size: int) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Turns, scales and shifts some of the films together with their masks."""
    names = ("rotation", "scaling", "translation")
    augmentation = Augmentation(AugmentationConfig(**{name: getattr(config, name) for name in names}), size)

    def move(images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        before = torch.cat([images.float(), masks], dim=1)
        chosen = torch.rand(len(before), 1, 1, 1) < config.augmented
        after = torch.where(chosen.to(before.device), augmentation(before), before)
        return after[:, :1], (after[:, 1:] > 0.5).float()

    return move


def _tensors(films: MaskedFilms, rows: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images and masks, both (rows, 1, size, size), the masks as 0.0 and 1.0."""
    masks = torch.from_numpy(films.masks[rows])[:, None].to(device).float()
    return film_tensor(films.pixels, rows, device), masks


def _measured(
    segmenter: Segmenter, films: MaskedFilms, batch_size: int, measure: Callable[[Tensor, Tensor], Tensor]
) -> np.ndarray:
    """What `measure` makes of logits and masks (batch, 1, size, size), batch by batch: (n, ...)."""
    device = next(segmenter.parameters()).device

    def measurements() -> Iterator[np.ndarray]:
        for start in range(0, len(films.subjects), batch_size):
            rows = np.arange(start, min(start + batch_size, len(films.subjects)))
            images, masks = _tensors(films, rows, device)
            yield measure(segmenter(images), masks).cpu().numpy()

    with torch.inference_mode(), mixed_precision(device):
        return np.concatenate(list(measurements()))


def _areas(logits: Tensor, masks: Tensor) -> Tensor:
    """(batch, 3) pixels that are shared, predicted and true."""
    predicted, true = logits > 0, masks > 0
    return torch.stack([part.sum((1, 2, 3)) for part in (predicted & true, predicted, true)], dim=1)


def _check(films: MaskedFilms) -> None:
    rows, size = len(films.subjects), films.pixels[:1].shape[1:]
    if len(films.pixels) != rows or films.masks.shape != (rows, *size) or films.masks.dtype != bool:
        raise EvaluationError(
            f"{len(films.pixels)} films of {size} pixels, {rows} patients and masks {films.masks.shape} of "
            f"{films.masks.dtype} do not fit together: there is one boolean mask per film, of its size."
        )
