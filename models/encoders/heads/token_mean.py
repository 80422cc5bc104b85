"""The mean of the tokens of a text, for texts that no single token stands for."""

from __future__ import annotations

from torch import Tensor


def token_mean(states: Tensor, mask: Tensor) -> Tensor:
    """(texts, length, width) -> (texts, width), over the tokens in `mask` (texts, length); 0 where there is none."""
    return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp_min(1)
