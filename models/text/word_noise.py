"""Copies of texts with small changes of their words (Wei and Zou, "EDA", EMNLP 2019), as MedCLIP's code augments them.

Of a text either two words change places, or each word is deleted with some probability. Replacing words by synonyms,
which the code does too, needs a dictionary, and is left out. Words are pieces of words here.
"""

from __future__ import annotations

import torch

from models.method import Tokens

DELETED = 0.1  # probability that a word is deleted


def change_words(tokens: Tokens, pad: int) -> Tokens:
    """A changed copy of texts (texts, length), whose first and last tokens are special; draws random numbers by row."""
    ids, mask = tokens.ids, tokens.mask
    texts, length = ids.shape
    words = (mask.sum(1, keepdim=True) - 2).clamp_min(0)
    swaps, pair = torch.rand(texts, 1, device=ids.device) < 0.5, torch.rand(texts, 2, device=ids.device)
    places = 1 + torch.minimum((pair * words).long(), (words - 1).clamp_min(0))
    swapped = ids.scatter(1, places, ids.gather(1, places.flip(1)))
    position = torch.arange(length, device=ids.device)
    word = (position > 0) & (position <= words)
    kept = mask & ~(word & (torch.rand(texts, length, device=ids.device) < DELETED))
    order = (~kept).long().argsort(dim=1, stable=True)
    shorter = position < kept.sum(1, keepdim=True)
    deleted = ids.gather(1, order).masked_fill(~shorter, pad)
    return Tokens(torch.where(swaps, swapped, deleted), torch.where(swaps, mask, shorter))
