"""Masked tokens for masked-language modelling (Devlin et al., 2019): which are hidden, and what stands in their place.

Each word is hidden with the same probability. Of what is hidden, 80 % becomes [MASK], 10 % another token, 10 % stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.method import Tokens
from models.text.tokenizer import WordPieceTokenizer

SHARE = 0.15  # of the tokens that are hidden
MASKED, REPLACED = 0.8, 0.1  # of those
DRAWS = 3  # random numbers that a token needs
FIXED = 20_220_421  # seed of what is hidden outside training


@dataclass(frozen=True)
class Masked:
    """Tokens of which some are hidden."""

    tokens: Tokens
    hidden: Tensor  # bool, in the shape of the ids: True where the original has to be told


@dataclass(frozen=True)
class Masking:
    """What is hidden of texts of a vocabulary. With `whole_words`, the pieces of a word are hidden together."""

    tokenizer: WordPieceTokenizer
    share: float = SHARE
    whole_words: bool = True

    def __call__(self, tokens: Tokens, draws: Tensor) -> Masked:
        """Tokens (..., length), hidden as `draws` (..., length, `DRAWS`), uniform in 0..1, decide."""
        chosen, kind, other = draws.unbind(-1)
        if self.whole_words:
            chosen = chosen.gather(-1, _first_piece(tokens.ids, self.tokenizer.continues.to(tokens.ids.device)))
        special = (tokens.ids == self.tokenizer.start) | (tokens.ids == self.tokenizer.end)
        hidden = (chosen < self.share) & tokens.mask & ~special
        replaced = torch.where(kind < MASKED, self.tokenizer.mask, (other * self.tokenizer.vocabulary).long())
        ids = torch.where(hidden & (kind < MASKED + REPLACED), replaced, tokens.ids)
        return Masked(Tokens(ids, tokens.mask), hidden)

    def draw(self, tokens: Tokens, training: bool) -> Tensor:
        """Random numbers (..., length, `DRAWS`), as many for each row of the batch.

        Outside training every row and every call has the same, so that a loss can be compared with another.
        """
        shape, device = (*tokens.ids.shape, DRAWS), tokens.ids.device
        if training:
            return torch.rand(shape, device=device)
        whole = (*tokens.ids.shape[1:-1], self.tokenizer.length, DRAWS)
        # numpy's, which `row_noise` does not see: these are no numbers of rows
        fixed = torch.from_numpy(np.random.default_rng(FIXED).random(whole, np.float32))
        return fixed[..., : tokens.ids.shape[-1], :].to(device).expand(shape)


def _first_piece(ids: Tensor, continues: Tensor) -> Tensor:
    """Place of the first piece of the word that each of `ids` (..., length) belongs to."""
    places = torch.arange(ids.shape[-1], device=ids.device)
    return torch.where(continues[ids], 0, places).cummax(-1).values
