"""Simple recurrent units (Lei et al., arXiv 1709.02755, version 1), whose gates see the input alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.losses.precision import at_least_float32

LONGEST = 512  # tokens of any text: what a BERT's tokenizer cuts at


class SRU(nn.Module):
    """Layers of simple recurrent units, with dropout before each one in training."""

    def __init__(self, inputs: int, width: int, layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.layers = nn.ModuleList(SruLayer(width if number else inputs, width) for number in range(layers))

    def forward(self, words: Tensor) -> Tensor:
        """(batch, length, inputs) -> (batch, length, width) states of the last layer."""
        for layer in self.layers:
            words = layer(F.dropout(words, self.dropout, self.training))
        return words


class SruLayer(nn.Module):
    """x~ = W x; f, r = sigmoid(W x + b); c_t = f c_{t-1} + (1 - f) x~; h = r tanh(c) + (1 - r) x'.

    x' is the input, or a fourth product where its width is another.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.width, self.same = width, inputs == width
        self.products = nn.Linear(inputs, (3 if self.same else 4) * width, bias=False)
        self.gate_bias = nn.Parameter(torch.zeros(2, width))  # of the forget and of the reset gate
        bound = (3 / inputs) ** 0.5  # products have the variance of the input
        nn.init.uniform_(self.products.weight, -bound, bound)

    def forward(self, words: Tensor) -> Tensor:
        """(batch, length, inputs) -> (batch, length, width)."""
        parts = at_least_float32(self.products(words)).unflatten(-1, (-1, self.width)).unbind(-2)
        forget, reset = ((part + bias).sigmoid() for part, bias in zip(parts[1:3], self.gate_bias, strict=True))
        beside = at_least_float32(words) if self.same else parts[3]
        state = linear_recurrence(forget, (1 - forget) * parts[0])
        return reset * state.tanh() + (1 - reset) * beside


def linear_recurrence(factors: Tensor, terms: Tensor) -> Tensor:
    """c_t = factors_t * c_{t-1} + terms_t along axis 1 of (batch, length, width), from c = 0; same shape.

    By doubling: after each of log2(length) rounds an element holds twice as many steps. An exported graph has as many
    rounds as the longest text needs.
    """
    shift, length = 1, factors.shape[1]
    longest = LONGEST if torch.compiler.is_exporting() else length
    while shift < longest:
        terms = terms + factors * F.pad(terms, (0, 0, shift, 0))[:, :length]
        factors = factors * F.pad(factors, (0, 0, shift, 0))[:, :length]
        shift *= 2
    return terms
