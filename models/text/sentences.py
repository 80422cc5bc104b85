"""Several sentences of a text: split, and put together into one sequence for a text encoder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.distributed import gather
from models.method import TextSource, Tokens
from models.text.tokenizer import WordPieceTokenizer

MARK = re.compile(r"[0-9]+\.[^0-9]")  # of an enumeration


@dataclass(frozen=True)
class JoinedSentences:
    """The sentences of each text in one sequence, behind one start and before one end token."""

    tokens: Tokens  # (texts, positions)
    lengths: Tensor  # (texts, sentences) tokens of each in the sequence; 0: there is none, or it did not fit


def split_report(text: str) -> list[str]:
    """The sentences of a text, without the marks of an enumeration and the full stops that part them.

    As MedCLIP's code splits reports: at a number with a full stop that no digit follows, and at a full stop with a
    space. A number such as 2.5 stays whole, and so do sentences without a space between them.
    """
    points = MARK.split(text.replace("\n", " "))
    return [sentence for point in points for sentence in point.split(". ") if sentence.strip()]


def read_sentences(source: TextSource, texts: Sequence[str], device: torch.device) -> Tokens:
    """The sentences of each text, ending in a full stop, as (texts, sentences, length) tokens.

    Those that a text lacks are padding.
    """
    split = [[f"{sentence.rstrip(' .')}." for sentence in split_report(text)] or [text] for text in texts]
    flat = source.tokens([sentence for sentences in split for sentence in sentences], device)
    counts = torch.tensor([len(sentences) for sentences in split])
    there = (torch.arange(int(counts.max())) < counts[:, None]).to(device)
    ids = torch.full((*there.shape, flat.ids.shape[1]), source.tokenizer.pad, device=device)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    ids[there], mask[there] = flat.ids, flat.mask
    return Tokens(ids, mask)


def join_sentences(tokens: Tokens, tokenizer: WordPieceTokenizer, longest: int) -> JoinedSentences:
    """One sequence of at most `longest` tokens for each text of `tokens` (texts, sentences, length).

    A sentence that does not fit whole is left out, and so are those behind it; but if it is the first, it is cut. All
    processes pad to one length, so that random numbers are those of one process.
    """
    room = longest - 2
    lengths = (tokens.mask.sum(2) - 2).clamp_min(0)  # without the special tokens of each
    lengths = torch.cat([lengths[:, :1].clamp_max(room), lengths[:, 1:]], 1)
    lengths = torch.where(lengths.cumsum(1) <= room, lengths, 0)
    totals = lengths.sum(1, keepdim=True)
    size = 2 + int(gather(totals.amax()[None]).max())
    offsets = torch.arange(tokens.ids.shape[2] - 2, device=lengths.device)
    places = torch.where(offsets < lengths[..., None], _starts(lengths)[..., None] + offsets, size)
    ids = torch.full((len(lengths), size + 1), tokenizer.pad, device=lengths.device)  # the last place is thrown away
    ids = ids.scatter(1, places.flatten(1), tokens.ids[..., 1:-1].flatten(1))[:, :size]
    ids[:, 0] = tokenizer.start
    ids = ids.scatter(1, totals + 1, tokenizer.end)
    return JoinedSentences(Tokens(ids, torch.arange(size, device=ids.device) < totals + 2), lengths)


def pool_sentences(states: Tensor, lengths: Tensor, pooling: str = "max") -> Tensor:
    """(texts, sentences, dim): the `max` or `mean` over the states of each sentence, 0 where there is none.

    `states` (texts, positions, dim) begin with that of the start token, and `lengths` (texts, sentences) say how many
    each sentence has.
    """
    offsets = torch.arange(max(1, int(lengths.max())), device=lengths.device)
    inside = offsets < lengths[..., None]
    places = torch.where(inside, _starts(lengths)[..., None] + offsets, 0)
    index = places.flatten(1)[..., None].expand(-1, -1, states.shape[2])
    found = states.gather(1, index).unflatten(1, places.shape[1:])
    if pooling == "mean":
        return (found * inside[..., None]).sum(2) / inside.sum(2, keepdim=True).clamp_min(1)
    highest = found.masked_fill(~inside[..., None], torch.finfo(found.dtype).min).amax(2)
    return torch.where(lengths[..., None] > 0, highest, 0)


def _starts(lengths: Tensor) -> Tensor:
    """(texts, sentences) where each begins, behind the start token."""
    return 1 + lengths.cumsum(1) - lengths
