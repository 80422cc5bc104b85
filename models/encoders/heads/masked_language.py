"""The head of masked-language modelling of a BERT, which tells tokens by its own word embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-12


class MaskedLanguageHead(nn.Module):
    """A layer with GELU and norm; logits are products with the word embeddings, which stay the text tower's."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.dense, self.norm = nn.Linear(width, width), nn.LayerNorm(width, eps=EPSILON)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, hidden: Tensor, embeddings: Tensor) -> Tensor:
        """Logits (..., vocabulary) of hidden states (..., width); `embeddings` (vocabulary, width)."""
        return F.linear(self.norm(F.gelu(self.dense(hidden))), embeddings, self.bias)
