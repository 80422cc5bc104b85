"""Runs a trained (or untrained) method over images and collects its zero-shot scores and attention maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from evaluation.errors import EvaluationError
from models.method import Method
from shards.reader import ShardData

Progress = Callable[[int, int], None]  # images done, images in all


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
    if not len(data):
        raise EvaluationError("There are no images to evaluate: this split of the shards is empty.")
    device = next(method.parameters()).device
    queries, scores, maps = list(classes), [], []
    was_training = method.training
    method.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(data), batch_size):
                images = torch.from_numpy(data.pixels[start : start + batch_size])[:, None].to(device)
                answer = method.zero_shot(images, queries)
                scores.append(answer.scores.float().cpu().numpy())
                maps.append(answer.maps.float().cpu().numpy())
                if progress:
                    progress(min(start + batch_size, len(data)), len(data))
    finally:
        method.train(was_training)
    return ZeroShotOutput(np.concatenate(scores), np.concatenate(maps))
