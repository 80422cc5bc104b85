"""Reports as GLoRIA and MGCA read them: sentences of words, joined, as WordPiece tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from models.method import Tokens
from models.text.cleaning import words_only
from models.text.tokenizer import WordPieceTokenizer

NUMBERS = re.compile(r"[0-9]+\.")  # of the items of a list, but also the "3." of "3.5 cm"


def prepared(text: str) -> str:
    """The words of all sentences in lower case; numbers before a full stop and sentences of one word are left out."""
    pieces = [piece for item in NUMBERS.split(text.replace("\n", " ")) for piece in item.split(".")]
    sentences = [words_only(piece) for piece in pieces if len(re.findall(r"\w+", piece)) > 1]
    return " ".join(filter(None, sentences))


def askable(phrase: str) -> str:
    """A phrase to look for: one of a single word, of which `prepared` leaves nothing, with `there is` before it."""
    return phrase if prepared(phrase) else f"there is {phrase}"


def read_reports(tokenizer: WordPieceTokenizer, texts: Sequence[str]) -> Tokens:
    """Tokens of prepared texts, all padded to the tokenizer's length."""
    tokens = tokenizer([prepared(text) for text in texts])
    return Tokens(
        fill_length(tokens.ids, tokenizer.length, tokenizer.pad), fill_length(tokens.mask, tokenizer.length, False)
    )


def fill_length(rows: Tensor, length: int, value: int | bool = 0) -> Tensor:
    """(batch, length): rows (batch, shorter) with `value` behind them."""
    return F.pad(rows, (0, length - rows.shape[1]), value=value)
