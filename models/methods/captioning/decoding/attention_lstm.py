"""A recurrent decoder that attends softly to the cells of an image (Xu et al., ICML 2015).

As in the code that is used most for it (sgrvinod, "a-PyTorch-Tutorial-to-Image-Captioning"), the gate of the context
is a vector where the paper has a number, and logits come from the hidden state alone, without the paper's deep output
layer.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.methods.captioning.decoding.search import State


class Read(NamedTuple):
    """What a decoder makes of given texts, word by word."""

    states: Tensor  # (texts, words, hidden), which tell the word behind each
    attention: Tensor  # (texts, words, cells), summing to 1 over the cells


class Memory(NamedTuple):
    """The state of a text."""

    hidden: Tensor  # (texts, width)
    cell: Tensor  # (texts, width)


class SoftAttention(nn.Module):
    """Where a hidden state looks: a layer of `width` with ReLU over the sum of both projections."""

    def __init__(self, cells: int, hidden: int, width: int) -> None:
        super().__init__()
        self.of_cells, self.of_hidden = nn.Linear(cells, width), nn.Linear(hidden, width)
        self.score = nn.Linear(width, 1, bias=False)  # the code has a bias, which changes no attention

    def forward(self, cells: Tensor, projected: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The context (texts, dim) and the attention (texts, cells) of hidden states (texts, hidden).

        `cells` (texts, cells, dim), and `projected`, what `of_cells` makes of them, which all words share.
        """
        scores = self.score(F.relu(projected + self.of_hidden(hidden)[:, None]))[..., 0]
        weights = scores.softmax(-1)
        return (weights[:, None] @ cells)[:, 0], weights


class AttentionLstm(nn.Module):
    """Reads a word and the context that its hidden state asks for, and tells the next word."""

    def __init__(
        self, vocabulary: int, cells: int, embedding: int = 512, hidden: int = 512, attention: int = 512,
        dropout: float = 0.5,
    ) -> None:  # fmt: skip
        super().__init__()
        self.dropout = dropout
        self.words = nn.Embedding(vocabulary, embedding)
        self.attention = SoftAttention(cells, hidden, attention)
        self.first_hidden, self.first_cell = nn.Linear(cells, hidden), nn.Linear(cells, hidden)
        self.gate = nn.Linear(hidden, cells)
        self.recurrent = nn.LSTMCell(embedding + cells, hidden)
        self.next_word = nn.Linear(hidden, vocabulary)

    def forward(self, cells: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (texts, words, vocabulary) of the words behind those of `read_all`, and their attention."""
        read = self.read_all(cells, ids)
        return self.next_word(read.states), read.attention

    def read_all(self, cells: Tensor, ids: Tensor) -> Read:
        """Texts whose words are `ids` (texts, words), the first being the start, about `cells` (texts, cells, dim).

        What is made of padding has no meaning.
        """
        memory, projected = self.start(cells), self.attention.of_cells(cells)
        hidden, attention = [], []
        for word in self.words(ids).unbind(1):
            memory, weights = self.read(cells, projected, memory, word)
            hidden.append(memory.hidden)
            attention.append(weights)
        return Read(F.dropout(torch.stack(hidden, 1), self.dropout, self.training), torch.stack(attention, 1))

    def start(self, cells: Tensor) -> Memory:
        """The state before the first word, from the mean of `cells` (texts, cells, dim)."""
        mean = cells.mean(1)
        return Memory(self.first_hidden(mean), self.first_cell(mean))

    def begin(self, cells: Tensor) -> State:
        """The state of a text before its first word: what `follow` needs."""
        return cells, self.attention.of_cells(cells), *self.start(cells)

    def follow(self, state: State, words: Tensor) -> tuple[Tensor, State]:
        """Logits (texts, vocabulary) of the word behind `words` (texts,), and the state behind them."""
        cells, projected, hidden, cell = state
        memory, _ = self.read(cells, projected, Memory(hidden, cell), self.words(words))
        return self.next_word(memory.hidden), (cells, projected, *memory)

    def read(self, cells: Tensor, projected: Tensor, memory: Memory, word: Tensor) -> tuple[Memory, Tensor]:
        """The state behind a `word` (texts, embedding), and where it looked (texts, cells)."""
        context, weights = self.attention(cells, projected, memory.hidden)
        context = self.gate(memory.hidden).sigmoid() * context
        return Memory(*self.recurrent(torch.cat([word, context], 1), tuple(memory))), weights
