"""The upper layers of a BERT, which look at an image as well (Li et al., ALBEF, NeurIPS 2021, arXiv 2107.07651).

A layer is one of BERT's, post-norm, with a cross-attention between its self-attention and its feed-forward part. What
the two have in common begins with the weights of the BERT; the cross-attention begins at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.losses.precision import at_least_float32

INITIAL_STD = 0.02  # of BERT's weights


class Attention(nn.Module):
    """Attention of BERT: queries from one sequence, keys and values from one of `memory` wide, then the sum's norm."""

    def __init__(self, config: Any, memory: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads, self.dropped = config.num_attention_heads, config.attention_probs_dropout_prob
        self.query, self.key, self.value = nn.Linear(width, width), nn.Linear(memory, width), nn.Linear(memory, width)
        self.output, self.norm = nn.Linear(width, width), nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        for layer in (self.query, self.key, self.value, self.output):
            nn.init.normal_(layer.weight, std=INITIAL_STD)
            nn.init.zeros_(layer.bias)

    def forward(self, hidden: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """(batch, length, width) of `hidden`, which looks at `memory` (batch, places, dim) where `mask` is True."""
        query, key, value = (
            self._split(self.query(hidden)),
            self._split(self.key(memory)),
            self._split(self.value(memory)),
        )
        seen = F.scaled_dot_product_attention(
            query, key, value, None if mask is None else mask[:, None, None], self.dropped if self.training else 0.0
        )
        return self.norm(hidden + self.dropout(self.output(seen.transpose(1, 2).flatten(2))))

    @torch.no_grad()
    def weights(self, hidden: Tensor, memory: Tensor) -> Tensor:
        """(batch, length, places) attention, mean over the heads."""
        query, key = self._split(self.query(hidden)), self._split(self.key(memory))
        return (at_least_float32(query @ key.mT) * query.shape[-1] ** -0.5).softmax(-1).mean(1)

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FusionLayer(nn.Module):
    """Self-attention, cross-attention, feed-forward."""

    def __init__(self, config: Any, memory: int) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.own, self.cross = Attention(config, width), Attention(config, memory)
        self.inner, self.outer = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm, self.dropout = nn.LayerNorm(width, eps=config.layer_norm_eps), nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: Tensor, mask: Tensor, memory: Tensor) -> Tensor:
        """(batch, length, width) of tokens, of which `mask` (batch, length) are some, and `memory` of an image."""
        hidden = self.cross(self.own(hidden, hidden, mask), memory)
        return self.norm(hidden + self.dropout(self.outer(F.gelu(self.inner(hidden)))))

    def begin_with(self, layer: Any) -> None:
        """Take the weights of a layer of transformers' BERT."""
        attention, output = layer.attention.self, layer.attention.output
        for ours, theirs in (
            (self.own.query, attention.query), (self.own.key, attention.key), (self.own.value, attention.value),
            (self.own.output, output.dense), (self.own.norm, output.LayerNorm),
            (self.inner, layer.intermediate.dense), (self.outer, layer.output.dense),
            (self.norm, layer.output.LayerNorm),
        ):  # fmt: skip
            ours.load_state_dict(theirs.state_dict())


class TextFusion(nn.Module):
    """The layers of a BERT, in the configuration of transformers, that look at an image of tokens `memory` wide."""

    def __init__(self, config: Any, layers: Sequence[Any], memory: int) -> None:
        super().__init__()
        built = [FusionLayer(config, memory) for _ in layers]
        for ours, theirs in zip(built, layers, strict=True):
            ours.begin_with(theirs)
        self.layers = nn.ModuleList(built)

    def forward(self, hidden: Tensor, mask: Tensor, memory: Tensor) -> Tensor:
        """(batch, length, width) of texts that have seen images.

        `hidden` (batch, length, width) is what the text layers give, `mask` (batch, length) says which are tokens, and
        `memory` (batch, places, dim) is an image for each text.
        """
        for layer in self.layers:
            hidden = layer(hidden, mask, memory)
        return hidden

    @torch.no_grad()
    def attention(self, hidden: Tensor, mask: Tensor, memory: Tensor, layer: int) -> Tensor:
        """(batch, length, places) of the tokens over the image in a layer, mean over the heads."""
        *before, chosen = list[Any](self.layers)[: layer + 1]
        for lower in before:
            hidden = lower(hidden, mask, memory)
        weights: Tensor = chosen.cross.weights(chosen.own(hidden, hidden, mask), memory)
        return weights
