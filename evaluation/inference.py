"""Runs a method over images, batch by batch, in evaluation mode and without gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from evaluation.errors import EvaluationError, NotAvailableError
from models.compute import full_convolutions
from models.method import Method

if TYPE_CHECKING:
    from shards.pixels import PixelArray
    from shards.reader import ShardData

Progress = Callable[[int, int], None]  # images done, images in all
Predict = Callable[[Tensor], Sequence[Tensor]]  # images (batch, 1, size, size) uint8 -> tensors of `batch` rows each


class IndexedPixels(Protocol):
    """Grey images (n, size, size) uint8 that can be chosen by slices and by arrays of indices."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice | np.ndarray, /) -> np.ndarray: ...


@dataclass(frozen=True)
class ZeroShotOutput:
    """Scores and maps of queries over images."""

    scores: np.ndarray  # (n, queries) float32 in 0..1
    maps: np.ndarray  # (n, queries, grid, grid) float32, non-negative


def predict_batches(
    method: nn.Module,
    pixels: PixelArray,
    predict: Predict,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> list[np.ndarray]:
    """The tensors that `predict` makes of `pixels`, as float32 arrays of n rows each, on the network's device.

    NotAvailableError where the method has no such predictions.
    """
    if not len(pixels):
        raise EvaluationError("There are no images to evaluate: this split of the shards is empty.")
    device = next(method.parameters()).device
    parts: list[list[np.ndarray]] = []
    precision = method.autocast() if isinstance(method, Method) else nullcontext()  # others have it in their forward
    was_training = method.training
    method.eval()
    try:
        with torch.inference_mode(), full_convolutions(), precision:
            for start in range(0, len(pixels), batch_size):
                images = torch.from_numpy(pixels[start : start + batch_size])[:, None].to(device)
                parts.append([tensor.float().cpu().numpy() for tensor in predict(images)])
                if progress:
                    progress(min(start + batch_size, len(pixels)), len(pixels))
    except NotImplementedError as error:
        raise NotAvailableError(f"{error}.") from None
    finally:
        method.train(was_training)
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def bind_queries(method: Method, queries: Sequence[str]) -> Predict:
    """A function that gives the zero-shot scores and maps of `queries` for images."""

    def predict(images: Tensor) -> tuple[Tensor, Tensor]:
        output = method.zero_shot(images, list(queries))
        return output.scores, output.maps

    return predict


def run_zero_shot(
    method: Method,
    data: ShardData,
    queries: Sequence[str],
    batch_size: int = 32,
    progress: Progress | None = None,
) -> ZeroShotOutput:
    """Scores and maps of every query for every image of `data`."""
    return ZeroShotOutput(*predict_batches(method, data.pixels, bind_queries(method, queries), batch_size, progress))
