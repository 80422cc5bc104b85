"""Runs a trained (or untrained) method over images and collects its zero-shot scores and attention maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from evaluation.inference import Progress, ask
from models.method import Method
from shards.reader import ShardData


@dataclass(frozen=True)
class ZeroShotOutput:
    """What a method says about images."""

    scores: np.ndarray  # (n, classes) float32 in 0..1
    maps: np.ndarray  # (n, classes, grid, grid) float32, non-negative


def run_zero_shot(
    method: Method,
    data: ShardData,
    classes: Sequence[str],
    batch_size: int = 32,
    progress: Progress | None = None,
) -> ZeroShotOutput:
    """Ask `method` for every class in every image of `data`, in evaluation mode and without gradients."""
    return ZeroShotOutput(*ask(method, data.pixels, zero_shot_question(method, classes), batch_size, progress))


def zero_shot_question(method: Method, queries: Sequence[str]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Scores and maps of `queries`, as a question to put to `method` about images."""

    def question(images: Tensor) -> tuple[Tensor, Tensor]:
        answer = method.zero_shot(images, list(queries))
        return answer.scores, answer.maps

    return question
