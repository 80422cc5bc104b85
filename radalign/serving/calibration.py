"""Turns a score into a probability, where somebody has calibrated the run on labelled images.

A calibration is a logistic function of the logit of the score, one per finding (Platt, "Probabilistic Outputs for
Support Vector Machines", 1999, with his smoothed targets). It holds for images like those that it was made on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from evaluation.metrics.calibration import Scaling, fit_platt
from radalign.errors import RadalignError
from radalign.images import Images
from radalign.model import Model
from store.seals import expect_intact, write_sealed_json

FILE = "calibration.json"  # in the folder of a run
FEWEST = 20  # images with the finding, and as many without
AGAIN = "calibrate the run again, or delete the file."


@dataclass(frozen=True)
class Curve:
    """The probability of a finding: the logistic function of `slope` times the logit of the score, plus `offset`."""

    slope: float
    offset: float
    data: str  # what the images were
    images: int
    positives: int

    def probability(self, score: float) -> float:
        """Of the finding, given a score in 0..1."""
        return float(Scaling(self.slope, self.offset).probabilities(np.array(score)))


def calibrate(model: Model, images: Images, labels: Mapping[str, Sequence[int]], data: str) -> Path:
    """Fit a curve to each finding and keep them beside the weights; returns the file.

    `labels` are 1 (present) or 0 for each image, by finding; `data` says in a few words what the images are. They must
    be no images that the network was trained on.

    Raises:
        RadalignError: there are too few images with or without a finding, or a finding has no curve that rises.
    """
    for finding, values in labels.items():
        present = int(np.sum(np.asarray(values) == 1))
        if min(present, len(values) - present) < FEWEST:
            raise RadalignError(
                f"`{finding}` is present in {present} of {len(values)} images: a calibration needs {FEWEST} with it "
                f"and {FEWEST} without."
            )
    found = model.zero_shot(images, list(labels))
    curves = {
        finding: fit_curve(found.scores[:, column], np.asarray(values), data, finding)
        for column, (finding, values) in enumerate(labels.items())
    }
    path = model.folder / FILE
    content = {"digest": model.digest, "curves": {name: asdict(curve) for name, curve in curves.items()}}
    write_sealed_json(path, content)
    return path


def fit_curve(scores: np.ndarray, present: np.ndarray, data: str, finding: str = "the finding") -> Curve:
    """The curve of scores (n,) in 0..1 of images in which a finding is `present` (n,) or not: 1 or 0."""
    if scores.shape != present.shape:
        raise RadalignError(f"There are {len(scores)} images and {len(present)} labels of `{finding}`.")
    scaling = fit_platt(present, scores)
    if scaling.slope <= 0:
        raise RadalignError(f"Scores of `{finding}` are not higher where it is present, so there is no calibration.")
    return Curve(scaling.slope, scaling.offset, data, len(present), int(present.sum()))


def read_curves(model: Model) -> dict[str, Curve]:
    """The curves of a run by finding; none where there is no calibration, or where it is of other weights.

    Raises:
        DamageError: the file was changed.
    """
    path = model.folder / FILE
    if not path.is_file():
        return {}
    content = json.loads(expect_intact(path, AGAIN, keep=True).read_text(encoding="utf-8"))
    if content["digest"] != model.digest:
        return {}
    return {key_of(name): Curve(**curve) for name, curve in content["curves"].items()}


def key_of(finding: str) -> str:
    """Findings that differ in case and blanks only are the same."""
    return " ".join(finding.casefold().split())
