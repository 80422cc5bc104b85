"""How the tokens of one modality look at those of the other (MGCA, arXiv 2210.06044, equation 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.losses.precision import at_least_float32


class CrossAttention(nn.Module):
    """With learned queries, keys, values and output, or, with `heads` 0, by cosine over `temperature`.

    Unlike equation 4 as it is printed, the learned maps have biases, as in the authors' code.
    """

    def __init__(self, dim: int, heads: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.learned = nn.MultiheadAttention(dim, heads, batch_first=True) if heads else None

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor | None = None) -> Tensor:
        """What each of `queries` (batch, queries, dim) sees in `keys` (batch, keys, dim): (batch, queries, dim).

        Both are L2-normalised. Keys are seen where `mask` (batch, keys) is True; without any, all are.
        """
        if self.learned is None:
            with torch.autocast(keys.device.type, enabled=False):
                return attend(queries, keys, self.temperature, mask) @ at_least_float32(keys)
        return self.learned(queries, keys, keys, key_padding_mask=_padding(mask), need_weights=False)[0]

    def weights(self, queries: Tensor, keys: Tensor, mask: Tensor | None = None) -> Tensor:
        """(batch, queries, keys) attention, mean over the heads."""
        if self.learned is None:
            return attend(queries, keys, self.temperature, mask)
        return self.learned(queries, keys, keys, key_padding_mask=_padding(mask))[1]


def attend(queries: Tensor, keys: Tensor, temperature: float, mask: Tensor | None = None) -> Tensor:
    """Attention without learned projections, as in the authors' code.

    `queries` (batch, queries, dim) look at `keys` (batch, keys, dim), both L2-normalised, where `mask` (batch, keys) is
    True; returns the weights (batch, queries, keys). Cosines are divided by `temperature`.
    """
    with torch.autocast(queries.device.type, enabled=False):
        logits = at_least_float32(queries) @ at_least_float32(keys).transpose(1, 2) / temperature
    if mask is not None:
        logits = logits.masked_fill(~mask[:, None], torch.finfo(logits.dtype).min)
    return logits.softmax(2)


def _padding(mask: Tensor | None) -> Tensor | None:
    """What PyTorch calls a key padding mask; it must leave something to look at."""
    return None if mask is None else ~mask & mask.any(1, keepdim=True)
