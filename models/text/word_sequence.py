"""Recurrent text towers over learned vectors of words: a GRU as in VSE++, simple recurrent units as in DSVE."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.errors import ModelError
from models.losses.precision import at_least_float32
from models.method import Tokens
from models.text.sru import SRU

CELLS = ("gru", "sru")
FIRST_VECTORS = 0.1  # vectors of words begin uniformly within this, as in VSE++'s code


class WordSequence(nn.Module):
    """A text is the state behind its last token. What follows it, which is padding, is not read.

    `dropout` is of the words and between the layers, in training.
    """

    def __init__(
        self, vocabulary: int, word_width: int, width: int, layers: int = 1, cell: str = "gru", dropout: float = 0.0
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ModelError(f"the cell of the text tower is one of {', '.join(CELLS)}, not `{cell}`")
        self.words = nn.Embedding(vocabulary, word_width)
        nn.init.uniform_(self.words.weight, -FIRST_VECTORS, FIRST_VECTORS)
        self.dropout = 0.0 if cell == "sru" else dropout  # of the words; SRU drops those itself
        self.cell = (
            SRU(word_width, width, layers, dropout)
            if cell == "sru"
            else nn.GRU(word_width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        )

    def forward(self, tokens: Tokens) -> Tensor:
        """(texts, width), not normalised."""
        return last_states(self.states(self.words(tokens.ids)), tokens.mask)

    def states(self, words: Tensor) -> Tensor:
        """(texts, length, word_width) -> (texts, length, width); errors of a recurrence add up, so in float32."""
        with torch.autocast(words.device.type, enabled=False):
            states = self.cell(F.dropout(at_least_float32(words), self.dropout, self.training))
        return states if isinstance(self.cell, SRU) else states[0]


def last_states(states: Tensor, mask: Tensor) -> Tensor:
    """(texts, length, width) -> (texts, width) at the last token of `mask` (texts, length)."""
    last = (mask.sum(1) - 1).clamp(min=0)
    return states[torch.arange(len(states), device=states.device), last]
