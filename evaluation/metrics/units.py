"""What is scored: each image, or each study, whose score is the mean of the scores of its images; and which views.

The test set of CheXpert, for one, counts 500 studies, some of which have several images. Frontal images are scored
unless others are asked for, so that those in the shards beside them change no number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from imaging.dicom.views import FRONTAL, KINDS, LATERAL

if TYPE_CHECKING:
    from evaluation.dataset import Images

IMAGE, STUDY = "image", "study"
UNITS = (IMAGE, STUDY)
ALL = "all"
VIEWS = {FRONTAL: (FRONTAL,), LATERAL: (LATERAL,), ALL: KINDS}  # what is asked for -> the kinds of views of the images


@dataclass(frozen=True)
class Scored:
    """The images or the studies that are scored, and which images each of them has."""

    unit: str
    of_image: np.ndarray  # (images,) place of the unit that an image belongs to
    subjects: np.ndarray  # (units,) patients

    @classmethod
    def of(cls, images: Images, unit: str) -> Scored:
        """The images themselves, or their studies in the order of their first images."""
        if unit == IMAGE:
            return cls(unit, np.arange(len(images.subjects)), images.subjects)
        keys = list(zip(images.subjects.tolist(), images.study_ids.tolist(), strict=True))
        places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        of_image = np.array([places[key] for key in keys], np.int64)
        return cls(unit, of_image, np.array([subject for subject, _ in places], dtype=images.subjects.dtype))

    def __len__(self) -> int:
        return len(self.subjects)

    def average(self, scores: np.ndarray) -> np.ndarray:
        """Scores (images, k) as scores (units, k), those of the images of a study averaged; nan where one is nan."""
        if self.unit == IMAGE:
            return scores
        sums = np.zeros((len(self), scores.shape[1]))
        np.add.at(sums, self.of_image, scores)
        means: np.ndarray = sums / np.bincount(self.of_image, minlength=len(self))[:, None]
        return means

    def join_labels(self, labels: np.ndarray, exclusive: bool = False) -> np.ndarray:
        """Labels (images, classes), 1 present, 0 absent, else unknown, as labels (units, classes) of 1, 0 and nan.

        A class is present in a study where any image has it. It is absent where an image lacks it and none has it. A
        study whose images have several of `exclusive` classes is unknown in all of them.
        """
        if self.unit == IMAGE:
            return labels
        present, absent = (self._any(labels == value) for value in (1, 0))
        joined = np.where(present, 1.0, np.where(absent, 0.0, np.nan))
        return np.where(present.sum(axis=1, keepdims=True) > 1, np.nan, joined) if exclusive else joined

    def _any(self, values: np.ndarray) -> np.ndarray:
        """(units, k) bool: whether it holds for an image of each unit."""
        found = np.zeros((len(self), values.shape[1]), bool)
        np.logical_or.at(found, self.of_image, values)
        return found
