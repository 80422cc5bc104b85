"""Sentences of tokenised texts in another order: one stable sort, whatever the number of texts and sentences.

A token's key is that of its sentence, so sentences move and their tokens keep their order.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.method import Tokens
from models.text.tokenizer import WordPieceTokenizer

FIRST, LAST, NOWHERE = -1.0, 2.0, 3.0  # keys before and behind those of sentences, which lie in 0..1


def sentence_ends(tokenizer: WordPieceTokenizer) -> tuple[Tensor, Tensor]:
    """(vocabulary,) bool each: the pieces that end a sentence, and the digits, before which a full stop is a point."""
    pieces = tokenizer.pieces
    return torch.tensor([piece in (".", "?", "!") for piece in pieces]), torch.tensor(
        [piece.removeprefix("##")[:1].isdigit() for piece in pieces]
    )


def shuffle_text(tokens: Tokens, ends: tuple[Tensor, Tensor], draws: Tensor) -> Tokens:
    """Texts (..., length), special tokens at both ends, with their sentences in the order of `draws` (..., length).

    `ends` are those of `sentence_ends`; sentence k of a text has the k-th of its draws, which are uniform in 0..1.
    """
    stops, digits = (part.to(tokens.ids.device) for part in ends)
    point = digits[tokens.ids].roll(-1, -1)
    ended = (stops[tokens.ids] & ~point).long().cumsum(-1)
    sentence = ended.roll(1, -1)
    sentence[..., 0] = 0
    last = tokens.mask.sum(-1, keepdim=True) - 1
    places = torch.arange(tokens.ids.shape[-1], device=tokens.ids.device)
    keys = draws.gather(-1, sentence)
    keys = keys.masked_fill(places >= last, LAST).masked_fill(places == 0, FIRST)
    order = keys.masked_fill(places > last, NOWHERE).argsort(dim=-1, stable=True)
    return Tokens(tokens.ids.gather(-1, order), tokens.mask)


def reorder_sentences(tokens: Tokens, keys: Tensor) -> Tokens:
    """The sentences of each report, tokens (batch, sentences, length), in the order of `keys` (batch, sentences).

    Sentences with a key of `LAST` or above are left out: they become padding.
    """
    order = keys.argsort(dim=1, stable=True)
    left_out = (keys.gather(1, order) >= LAST)[..., None]
    sorted_tokens = tokens.apply(lambda tensor: tensor.gather(1, order[..., None].expand_as(tensor)))
    return Tokens(sorted_tokens.ids, sorted_tokens.mask & ~left_out)
