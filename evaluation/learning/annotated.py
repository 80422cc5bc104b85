"""Images with what a network is to learn about them: labels, masks or boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from evaluation.errors import EvaluationError
from evaluation.learning.fitting import own_patients
from evaluation.metrics.classification import is_scorable

if TYPE_CHECKING:
    from evaluation.dataset import EvaluationDataset, Images
    from evaluation.inference import IndexedPixels
    from evaluation.tasks.base import Setting


@dataclass(frozen=True)
class _Annotated:
    images: Images

    def __len__(self) -> int:
        return len(self.images)

    @property
    def pixels(self) -> IndexedPixels:
        """(n, size, size) uint8, read as it is sliced or indexed."""
        return self.images.pixels

    @property
    def subjects(self) -> np.ndarray:
        """(n,) patients."""
        return self.images.subjects

    @property
    def side(self) -> int:
        """Of an image, in pixels."""
        return int(self.pixels[:1].shape[-1])


@dataclass(frozen=True)
class LabelledImages(_Annotated):
    """Images of a split with what is known about them."""

    labels: np.ndarray  # (n, classes): 1 present, 0 absent, anything else is unknown

    def select(self, rows: np.ndarray) -> LabelledImages:
        """Those of `rows`, which are indices."""
        return LabelledImages(self.images.select(rows), self.labels[rows])


@dataclass(frozen=True)
class MaskedImages(_Annotated):
    """Images of a split and what is to be found on them."""

    masks: np.ndarray  # (n, size, size) bool; all False where there is nothing

    def select(self, rows: np.ndarray) -> MaskedImages:
        """Those of `rows`, which are indices."""
        return MaskedImages(self.images.select(rows), self.masks[rows])


@dataclass(frozen=True)
class BoxedImages(_Annotated):
    """Images of a split, square, and the boxes of the finding on them."""

    boxes: Sequence[np.ndarray]  # of each image (k, 4) float32 x1 y1 x2 y2 in its pixels, k = 0 where there is none

    def select(self, rows: np.ndarray) -> BoxedImages:
        """Those of `rows`, which are indices."""
        return BoxedImages(self.images.select(rows), [self.boxes[row] for row in rows])


def label_splits(
    dataset: EvaluationDataset, setting: Setting
) -> tuple[list[str], LabelledImages, LabelledImages, LabelledImages]:
    """The labels that classifiers learn, and train, validate and test with them."""
    assert setting.fraction is not None
    names, *splits = dataset.labelled_splits(setting.fraction, setting.repeat)
    train, validate, test = (LabelledImages(images, dataset.label_values(images, names)) for images in splits)
    return names, train, validate, test


def prepare(
    train: LabelledImages, validate: LabelledImages, test: LabelledImages, classes: Sequence[str], exclusive: bool
) -> tuple[LabelledImages, LabelledImages, LabelledImages]:
    """The splits with labels 1, 0 or nan; of `train` the images with a known label, of patients of no other split.

    Where classes are `exclusive`, all are known of an image or none.
    """
    train, validate, test = (_clean(images, classes, exclusive) for images in (train, validate, test))
    train = train.select(np.flatnonzero(~np.isnan(train.labels).all(axis=1)))
    return train.select(own_patients(train.subjects, validate.subjects, test.subjects)), validate, test


def learnt_labels(train: LabelledImages, labels: np.ndarray) -> np.ndarray:
    """The `labels` (n, classes) of a test split, nan for a class of which `train`, prepared, has one label only."""
    return np.where([is_scorable(column) for column in train.labels.T], labels, np.nan)


def _clean(images: LabelledImages, classes: Sequence[str], exclusive: bool) -> LabelledImages:
    if images.labels.shape != (len(images), len(classes)):
        raise EvaluationError(
            f"{len(images)} images and labels {images.labels.shape} for {len(classes)} classes do not fit together."
        )
    if not exclusive:
        return replace(images, labels=np.where(np.isin(images.labels, (0, 1)), images.labels, np.nan))
    present = images.labels == 1
    if (present.sum(axis=1) > 1).any():
        raise EvaluationError(
            "An image has several of the classes, which should exclude one another: check its labels."
        )
    return replace(images, labels=np.where(present.any(axis=1, keepdims=True), present, np.nan))
