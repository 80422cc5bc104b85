"""The likeliest text of a decoder that tells one word after the other: greedy, or by beam search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

State = tuple[Tensor, ...]  # of so many texts, the first axis of each tensor


class Decoder(Protocol):
    """What the search needs of a decoder."""

    def begin(self, cells: Tensor) -> State:
        """The state of texts about images, of which the cells are (images, cells, dim), before their first word."""

    def follow(self, state: State, words: Tensor) -> tuple[Tensor, State]:
        """Logits (texts, vocabulary) of the words behind `words` (texts,), and the state behind these."""


def search(
    decoder: Decoder, cells: Tensor, start: int, end: int, length: int, beam: int = 1, never: Sequence[int] = ()
) -> Tensor:
    """(images, words) ids of the likeliest text found about each image, `end` and what is behind it included.

    A text is as likely as the product of the probabilities of its words, `end` included; it is not divided by its
    length. `beam` beginnings are kept after every word, and with 1 the likeliest word follows each time. A text of
    `length` words stops without an end. Ids in `never` are not written.
    """
    images, state = len(cells), decoder.begin(cells)
    state = tuple(part.repeat_interleave(beam, 0) for part in state)
    words = torch.full((images * beam,), start, device=cells.device)
    scores = torch.full((images, beam), -torch.inf, dtype=torch.float64, device=cells.device)
    scores[:, 0] = 0.0  # at first all beginnings are the same, and one of them counts
    texts = words.new_empty((images, beam, 0))
    first = torch.arange(images, device=cells.device)[:, None] * beam
    for _ in range(length):
        logits, state = decoder.follow(state, words)
        found = _next_scores(logits, texts, end, never).unflatten(0, (images, beam)) + scores[..., None]
        scores, chosen = found.flatten(1).topk(beam)
        parents, written = chosen // logits.shape[1], chosen % logits.shape[1]
        rows = (first + parents).flatten()
        state, words = tuple(part[rows] for part in state), written.flatten()
        texts = torch.cat([texts.flatten(0, 1)[rows].unflatten(0, (images, beam)), written[..., None]], 2)
        if (written == end).all():
            break
    return texts[:, 0]  # topk sorts


def _next_scores(logits: Tensor, texts: Tensor, end: int, never: Sequence[int]) -> Tensor:
    """(images * beam, vocabulary) logarithms of probabilities; behind its end a text goes on with `end` for nothing."""
    scores = logits.double().log_softmax(-1)
    scores[:, list(never)] = -torch.inf
    if texts.shape[2]:
        ended = (texts[..., -1] == end).flatten()
        scores[ended] = -torch.inf
        scores[ended, end] = 0.0
    return scores
