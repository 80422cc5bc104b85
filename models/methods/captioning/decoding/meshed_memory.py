"""The meshed-memory transformer (Cornia et al., CVPR 2020, arXiv 1912.08226).

The levels of the encoder are the outputs of its layers. A layer of the decoder looks at each level with the same
attention, and a gate for each level decides what comes of it. Padding is given by masks. The authors' code takes a cell
for padding where its layer norm sums to zero, which that of a real cell may do, and that of a padded one need not.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.methods.captioning.decoding.multi_head import FeedForward, MultiHead, xavier
from models.methods.captioning.decoding.search import State

PERIOD = 10_000  # of the slowest wave of the positions


class MemoryEncoder(nn.Module):
    """Layers of self-attention with memory over the cells of an image, which have no positions."""

    def __init__(
        self, cells: int, width: int, heads: int, key_width: int, inner: int, layers: int, memory: int,
        dropout: float = 0.1, value_width: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.dropout = dropout
        self.narrow, self.norm = nn.Linear(cells, width), nn.LayerNorm(width)
        values = value_width or key_width
        self.attention = nn.ModuleList(
            MultiHead(width, heads, key_width, values, memory, dropout) for _ in range(layers)
        )
        self.feed_forward = nn.ModuleList(FeedForward(width, inner, dropout) for _ in range(layers))

    def forward(self, cells: Tensor, present: Tensor | None = None) -> Tensor:
        """Levels (images, layers, cells, width) of `cells` (images, cells, dim).

        `present` (images, cells) is True for a cell; without it all are.
        """
        hidden = None if present is None else ~present[:, None, None]
        tokens = self.norm(F.dropout(self.narrow(cells).relu(), self.dropout, self.training))
        levels = []
        for attend, change in zip(self.attention, self.feed_forward, strict=True):
            tokens = change(attend(tokens, tokens, hidden))
            levels.append(tokens)
        return torch.stack(levels, 1)


class MeshedLayer(nn.Module):
    """Words look at each other, then at every level of the image; a gate per level decides what comes of it."""

    def __init__(
        self, levels: int, width: int, heads: int, key_width: int, inner: int, dropout: float, value_width: int
    ) -> None:
        super().__init__()
        self.among_words = MultiHead(width, heads, key_width, value_width, dropout=dropout)
        self.at_image = MultiHead(width, heads, key_width, value_width, dropout=dropout)
        self.gates = nn.ModuleList(xavier(nn.Linear(2 * width, width)) for _ in range(levels))
        self.feed_forward = FeedForward(width, inner, dropout)

    def forward(self, words: Tensor, levels: Tensor, later: Tensor, real: Tensor, absent: Tensor | None) -> Tensor:
        """Words (texts, words, width) after the layer.

        `later`, to be broadcast to (texts, 1, words, words), is True where a word must not look; `real` (texts, words,
        1) is 0 for padding; `absent` (texts, 1, 1, cells) is True where there is no cell.
        """
        words = self.among_words(words, words, later) * real
        gated = []
        for level, gate in zip(levels.unbind(1), self.gates, strict=True):
            seen = self.at_image(words, level, absent) * real
            gated.append(gate(torch.cat([words, seen], -1)).sigmoid() * seen)
        meshed = torch.stack(gated).sum(0) / math.sqrt(len(gated))
        return self.feed_forward(meshed * real) * real


class MeshedDecoder(nn.Module):
    """Tells the next word of a text about an image from the words so far and all levels of the image."""

    def __init__(
        self, vocabulary: int, pad: int, levels: int, width: int, heads: int, key_width: int, inner: int, layers: int,
        dropout: float = 0.1, value_width: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.pad = pad
        self.words = nn.Embedding(vocabulary, width, padding_idx=pad)
        self.layers = nn.ModuleList(
            MeshedLayer(levels, width, heads, key_width, inner, dropout, value_width or key_width)
            for _ in range(layers)
        )
        self.next_word = nn.Linear(width, vocabulary, bias=False)

    def forward(self, levels: Tensor, ids: Tensor, mask: Tensor, present: Tensor | None = None) -> Tensor:
        """Logits (texts, words, vocabulary) of the words behind those of `read_all`."""
        return self.next_word(self.read_all(levels, ids, mask, present))

    def read_all(self, levels: Tensor, ids: Tensor, mask: Tensor, present: Tensor | None = None) -> Tensor:
        """States (texts, words, width) of `ids` (texts, words), the first being the start.

        `levels` (texts, levels, cells, width), `mask` (texts, words), True for a word, `present` as in the encoder.
        """
        count = ids.shape[1]
        upcoming = torch.ones(count, count, dtype=torch.bool, device=ids.device).triu(1)
        later = upcoming | ~mask[:, None, None]
        absent = None if present is None else ~present[:, None, None]
        real = mask[..., None].to(levels.dtype)
        places = positions(count + 1, self.words.embedding_dim, ids.device)[1:].to(levels.dtype)
        tokens = self.words(ids) + places * real
        for layer in self.layers:
            tokens = layer(tokens, levels, later, real, absent)
        return tokens


class MeshedMemory(nn.Module):
    """Encoder and decoder, which writes texts about the cells of images."""

    def __init__(self, encoder: MemoryEncoder, decoder: MeshedDecoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def read_all(self, cells: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """States (texts, words, width) of `ids` (texts, words), which are about `cells` (texts, cells, dim)."""
        return self.decoder.read_all(self.encoder(cells), ids, mask)

    def begin(self, cells: Tensor) -> State:
        """The levels of the image, and no words (texts, 0)."""
        levels = self.encoder(cells)
        return levels, levels.new_empty(len(cells), 0, dtype=torch.int64)

    def follow(self, state: State, words: Tensor) -> tuple[Tensor, State]:
        """Logits (texts, vocabulary) of the word behind `words` (texts,); all words so far are read again."""
        levels, before = state
        ids = torch.cat([before, words[:, None]], 1)
        logits = self.decoder(levels, ids, torch.ones_like(ids, dtype=torch.bool))
        return logits[:, -1], (levels, ids)


def positions(count: int, width: int, device: torch.device | None = None) -> Tensor:
    """(count, width) float32: sines on even and cosines on odd places, of waves up to `PERIOD`; 0 for position 0.

    Position 0 is that of padding; words count from 1.
    """
    waves = PERIOD ** (2 * torch.arange(width // 2, device=device) / width)
    angles = torch.arange(count, device=device)[:, None] / waves
    table = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
    table[0] = 0
    return table
