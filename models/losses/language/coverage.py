"""The doubly stochastic penalty of soft attention (Xu et al., Show, Attend and Tell, ICML 2015, section 4.2.1).

Attention of every word sums to 1 over the image. The penalty asks that it also sums to 1 over the words of a text for
every cell, so that no part of the image is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.losses.precision import at_least_float32


def uncovered(attention: Tensor, mask: Tensor) -> Tensor:
    """(texts,) mean over the cells of (1 - attention summed over the words)^2; the loss is its mean over the texts.

    `attention` (texts, words, cells), `mask` (texts, words), True for a word: words behind the end do not look.
    """
    with torch.autocast(attention.device.type, enabled=False):
        seen = (at_least_float32(attention) * mask[..., None]).sum(1)
        return (1 - seen).square().mean(1)
