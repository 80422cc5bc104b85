"""Detection: a YOLOv3 head on the frozen encoder finds the boxes of a finding, as in MGCA (arXiv 2210.06044, 4.3).

The metric is COCO's average precision, as a mean over overlaps of 0.4 to 0.75. All films of the test split count: a box
found on a film without any is wrong, and boxes of a film on which nothing is found are missed. MGCA's code skips both
kinds of films, and leaves out boxes less than 0.5 sure before it draws the curve, which cuts it short; `skip_empty` and
`confidence` do the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evaluation.errors import EvaluationError
from evaluation.learning.fitting import ChosenFilms, Films, FitOptions, Progress, fit, own_patients, seeded
from evaluation.learning.frozen_maps import FrozenMaps, whole_film_encoder
from evaluation.learning.yolo import YoloHead, detect, loss
from evaluation.learning.yolo_priors import Priors
from evaluation.metrics.average_precision import Found, average_precision
from evaluation.metrics.classification import RESAMPLES, patient_weights
from evaluation.metrics.values import MACRO, ResultValue, summarise
from models.method import Method

TASK = "detection"
OVERLAPS = (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75)  # MGCA and LoVT; MGCA's paper prints 0.65 for 0.55
FILMS_AT_ONCE = 32  # whose boxes are found


@dataclass(frozen=True)
class DetectionConfig:
    """How a head is trained and read; the defaults are MGCA's, but for `confidence`."""

    learning_rate: float = 5e-4  # constant; MGCA for 1 % of the labels: 2e-4 to 2.5e-4
    weight_decay: float = 1e-6  # AdamW's
    batch_size: int = 16  # films in a step; MGCA for 1 % of the labels: 8
    epochs: int = 50  # at most
    patience: int = 10  # validations without a better mean average precision after which it ends; 0: never
    maximum_steps: int = 0  # in all; 0: as many as the epochs have
    validate_every: int = 0  # steps at least between two validations, for fractions whose epochs are short
    width: int = 512  # channels of the head on the coarsest map, half as many on each finer one (YOLOv3)
    confidence: float = 0.01  # boxes less sure than this are left out; MGCA's code: 0.5, which truncates the curve
    suppression: float = 0.5  # overlap with a surer box from which on a box is left out
    skip_empty: bool = False  # films without true or without found boxes do not count, as in MGCA's code
    map_memory: int = 4096  # megabytes of feature maps kept of each split; of larger splits they are computed anew


@dataclass(frozen=True)
class BoxedFilms:
    """Films of a split, square, and the boxes of the finding on them."""

    pixels: Films  # (n, size, size) uint8
    boxes: Sequence[np.ndarray]  # of each film (k, 4) float32 x1 y1 x2 y2 in its pixels, k = 0 where there is none
    subjects: np.ndarray  # (n,) patients

    def select(self, rows: np.ndarray) -> BoxedFilms:
        """Those of `rows`, which are indices."""
        return BoxedFilms(ChosenFilms(self.pixels, rows), [self.boxes[row] for row in rows], self.subjects[rows])


class Detector:
    """A head for the maps of an encoder, and how its boxes are read."""

    def __init__(self, maps: FrozenMaps, config: DetectionConfig) -> None:
        self.config, self.side, self.device = config, maps.encoder.size, maps.device
        self.priors = Priors.over([(rows, columns) for _, rows, columns in maps.shapes], self.side).to(self.device)
        self.head = YoloHead([channels for channels, _, _ in maps.shapes], config.width).to(self.device)

    def loss(self, maps: Sequence[Tensor], boxes: Sequence[np.ndarray], film_side: int) -> Tensor:
        """Of films and their boxes (k, 4), which are in pixels of a film of `film_side`."""
        films = np.repeat(np.arange(len(boxes)), [len(corners) for corners in boxes])
        corners = np.concatenate([*boxes, np.empty((0, 4))]) * (self.side / film_side)
        truth = torch.from_numpy(corners).float().to(self.device), torch.from_numpy(films).to(self.device)
        return loss(self.head(maps), self.priors, *truth)

    @torch.inference_mode()
    def find(self, maps: FrozenMaps, film_side: int) -> Found:
        """The boxes on all films, in pixels of a film of `film_side`."""
        self.head.eval()
        parts = []
        for first in range(0, len(maps), FILMS_AT_ONCE):
            outputs = self.head(maps[first : first + FILMS_AT_ONCE])
            films, corners, scores = detect(
                outputs, self.priors, self.side, self.config.confidence, self.config.suppression
            )
            corners = corners * (film_side / self.side)
            parts.append([tensor.cpu().numpy() for tensor in (films + first, corners, scores)])
        return Found(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def fit_and_score(
    method: Method,
    train: BoxedFilms,
    validate: BoxedFilms,
    test: BoxedFilms,
    config: DetectionConfig,
    draw: int,
    resamples: int = RESAMPLES,
    progress: Progress | None = None,
) -> list[ResultValue]:
    """Average precision on `test` of a head that was trained on `train`: see `score`.

    Films of `train` whose patient is also in another split are left out. The head is that of the validation with the
    best mean average precision, or the last one where `validate` has no box. `draw` seeds its weights and the order of
    the films. `method` is not trained; NotAvailableError where it has no feature maps.
    """
    for films in (train, validate, test):
        _check(films)
    train = train.select(own_patients(train.subjects, validate.subjects, test.subjects))
    encoder = whole_film_encoder(method)
    detector = train_detector(encoder, train, validate, config, draw, progress)
    found = detector.find(FrozenMaps(encoder, test.pixels, memory=0), _side(test))
    return score(found, test.boxes, test.subjects, config.skip_empty, resamples)


def train_detector(
    encoder: Method,
    train: BoxedFilms,
    validate: BoxedFilms,
    config: DetectionConfig,
    draw: int,
    progress: Progress | None = None,
) -> Detector:
    """A detector on the maps of an encoder that takes whole films."""
    maps, side = FrozenMaps(encoder, train.pixels, config.map_memory), _side(train)
    with seeded(draw, maps.device):
        detector = Detector(maps, config)

        def loss_of(rows: np.ndarray) -> Tensor:
            return detector.loss(maps[rows], [train.boxes[row] for row in rows], side)

        quality = _quality(encoder, detector, validate, config)
        fit(detector.head, loss_of, len(maps), quality, FitOptions.of(config), draw, progress)
    return detector


def score(
    found: Found,
    truth: Sequence[np.ndarray],
    subjects: np.ndarray,
    skip_empty: bool = False,
    resamples: int = RESAMPLES,
) -> list[ResultValue]:
    """`map`, the mean over OVERLAPS, and `ap_40` to `ap_75` at each: of class MACRO, and n counts films.

    `truth` has the true boxes (k, 4) of every film. None where no film has one.
    """
    counted = np.ones(len(truth), bool)
    if skip_empty:
        counted = np.isin(np.arange(len(truth)), found.films) & [len(corners) > 0 for corners in truth]
    weights = patient_weights(subjects, resamples, seed=0)  # the same for every draw and method
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
    encoder: Method, detector: Detector, validate: BoxedFilms, config: DetectionConfig
) -> Callable[[], float] | None:
    """Mean average precision on the validate split, of which all films count; None where it has no box."""
    if not any(len(corners) for corners in validate.boxes):
        return None
    maps, side = FrozenMaps(encoder, validate.pixels, config.map_memory), _side(validate)
    every = np.ones((1, len(maps)))
    return lambda: float(average_precision(detector.find(maps, side), validate.boxes, OVERLAPS, every).mean())


def _side(films: BoxedFilms) -> int:
    return int(films.pixels[:1].shape[-1])


def _check(films: BoxedFilms) -> None:
    rows = len(films.subjects)
    if len(films.pixels) != rows or len(films.boxes) != rows:
        raise EvaluationError(
            f"{len(films.pixels)} films, {rows} patients and the boxes of {len(films.boxes)} films do not fit together."
        )
    boxes = np.concatenate([*films.boxes, np.empty((0, 4))])
    inside = (boxes >= 0) & (boxes <= _side(films)) if len(boxes) else np.ones(1, bool)
    if not inside.all() or not (boxes[:, :2] < boxes[:, 2:]).all():
        raise EvaluationError("A box is empty, or reaches out of its film: check the boxes of the studies table.")
