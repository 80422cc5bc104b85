"""Puts a question about images to a network, batch by batch, in evaluation mode and without gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from evaluation.errors import EvaluationError, NotAvailableError

Progress = Callable[[int, int], None]  # images done, images in all


class Images(Protocol):
    """Grey images (n, size, size) uint8: an array, or something that reads what is sliced."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> np.ndarray: ...


def ask(
    method: nn.Module,
    pixels: Images,
    question: Callable[[Tensor], Sequence[Tensor]],
    batch_size: int = 32,
    progress: Progress | None = None,
) -> list[np.ndarray]:
    """The tensors that `question` makes of `pixels`, as float32 arrays of n rows each.

    NotAvailableError where the method has no answer to such questions.
    """
    if not len(pixels):
        raise EvaluationError("There are no images to evaluate: this split of the shards is empty.")
    device = next(method.parameters()).device
    answers: list[list[np.ndarray]] = []
    was_training = method.training
    method.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(pixels), batch_size):
                images = torch.from_numpy(pixels[start : start + batch_size])[:, None].to(device)
                answers.append([tensor.float().cpu().numpy() for tensor in question(images)])
                if progress:
                    progress(min(start + batch_size, len(pixels)), len(pixels))
    except NotImplementedError as error:
        raise NotAvailableError(f"{error}.") from None
    finally:
        method.train(was_training)
    return [np.concatenate(parts) for parts in zip(*answers, strict=True)]
