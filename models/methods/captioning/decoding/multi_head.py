"""Attention and feed-forward layers as the meshed-memory transformer has them (Cornia et al., CVPR 2020): a residual
connection and a layer norm behind each, and learned memory beside the keys and values."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MultiHead(nn.Module):
    """Attention of `heads` heads whose keys and values have `key_width` and `value_width`, and its layer norm.

    With `memory`, so many learned pairs stand beside those of the input: sqrt(key_width) M_k and sqrt(memory) M_v.
    """

    def __init__(
        self, width: int, heads: int, key_width: int, value_width: int, memory: int = 0, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key = (xavier(nn.Linear(width, heads * key_width)) for _ in range(2))
        self.value = xavier(nn.Linear(width, heads * value_width))
        self.output = xavier(nn.Linear(heads * value_width, width))
        self.norm = nn.LayerNorm(width)
        self.memory = memory
        if memory:
            self.memory_keys = nn.Parameter(torch.randn(1, memory, heads * key_width) / key_width)
            self.memory_values = nn.Parameter(torch.randn(1, memory, heads * value_width) / memory)

    def forward(self, queries: Tensor, seen: Tensor, hidden: Tensor | None = None) -> Tensor:
        """(texts, queries, width) of `queries` (texts, queries, width), which look at `seen` (texts, keys, width).

        Where `hidden`, to be broadcast to (texts, heads, queries, keys), is True, a query does not look.
        """
        output = self.output(self.attend(queries, seen, hidden))
        return self.norm(queries + F.dropout(output, self.dropout, self.training))

    def attend(self, queries: Tensor, seen: Tensor, hidden: Tensor | None = None) -> Tensor:
        """(texts, queries, heads * value_width) before the output layer."""
        keys, values = self.key(seen), self.value(seen)
        if self.memory:
            key_width = keys.shape[-1] // self.heads
            keys = torch.cat([keys, math.sqrt(key_width) * self.memory_keys.expand(len(keys), -1, -1)], 1)
            values = torch.cat([values, math.sqrt(self.memory) * self.memory_values.expand(len(keys), -1, -1)], 1)
            if hidden is not None:
                hidden = F.pad(hidden, (0, self.memory))
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query(queries), keys, values)
        )
        looks = None if hidden is None else ~hidden
        return F.scaled_dot_product_attention(query, key, value, looks).transpose(1, 2).flatten(2)


class FeedForward(nn.Module):
    """Two layers with ReLU between them, and a layer norm."""

    def __init__(self, width: int, inner: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = dropout
        self.widen, self.narrow = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., width) to the same shape."""
        inner = F.dropout(self.widen(tokens).relu(), self.dropout, self.training)
        return self.norm(tokens + F.dropout(self.narrow(inner), self.dropout, self.training))


def xavier(layer: nn.Linear) -> nn.Linear:
    """The layer with the weights that the authors' code begins with."""
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
