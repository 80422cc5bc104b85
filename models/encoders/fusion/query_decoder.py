"""The transformer decoder of MedKLIP: queries look at each other, then at the image, layer by layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class QueryDecoderLayer(nn.Module):
    """Pre-norm self-attention over the queries, cross-attention to the image, feed-forward with ReLU."""

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(width, feed_forward), nn.Linear(feed_forward, width)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, queries: Tensor, memory: Tensor, hidden: Tensor | None, attention: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Queries (batch, q, width) after the layer, and the mean attention of the heads (batch, q, locations)."""
        # On a CPU the plain path, which has the weights anyway, is 2 to 3 times faster than the fused one.
        plain = attention or queries.device.type == "cpu"
        q = self.norm1(queries)
        queries = queries + self.dropout(self.self_attn(q, q, q, attn_mask=hidden, need_weights=plain)[0])
        q = self.norm2(queries)
        seen, weights = self.multihead_attn(q, memory, memory, need_weights=plain)
        queries = queries + self.dropout(seen)
        inner = self.dropout(F.relu(self.linear1(self.norm3(queries))))
        return queries + self.dropout(self.linear2(inner)), weights


class QueryDecoder(nn.Module):
    """A stack of decoder layers with a final LayerNorm."""

    def __init__(self, width: int, heads: int, layers: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(QueryDecoderLayer(width, heads, feed_forward, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(
        self, queries: Tensor, memory: Tensor, hidden: Tensor | None = None, attention: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Queries (batch, q, width) and, where requested, the attention of every layer (layers, batch, q, locations).

        `memory` (batch, locations, width) is the image; `hidden` (q, q) bool is True where a query (row) must not look
        at another.
        """
        maps = []
        for layer in self.layers:
            queries, weights = layer(queries, memory, hidden, attention)
            maps.append(weights)
        return self.norm(queries), torch.stack(maps) if attention else None
