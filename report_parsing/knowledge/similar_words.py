"""Words that look or sound like a given one: found by the character trigrams they share, ranked by slips of the pen.

A slip is a letter too many, missing or wrong, or two neighbours swapped. Slips are counted in the words as written and
as heard (`data/letters.csv`), because some people mistype and others write what they hear.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from report_parsing.language.slips import count_slips
from report_parsing.resources import read_rows

_DOUBLED = re.compile(r"(.)\1+")
_REMEMBERED = 20_000
_BEHIND = 0.6  # of what the best candidate shares; those further behind are not looked at
_CANDIDATES = 6  # words whose slips are counted
_SHARED = 0.25  # of the trigrams, at least; three slips in twelve letters leave more
_SHORTEST = 4  # letters; a shorter word has too many true neighbours to be meant by another
_SLIPS = ((6, 1.0), (9, 2.0), (1000, 3.0))  # slips that a word of up to this many letters may have
_SHORT_SLIP = 0.8  # similarity of a word of the shortest kind with a swap or a doubled letter, all it may have
_VOWELS = "aeiou"
_LONG = 8  # letters from which on the first one may have slipped


class Similar(NamedTuple):
    """A word of the index, and how much of it was written: 1 less the share of its letters that slipped."""

    word: str
    similarity: float


class SimilarWords:
    """Nearest words among those given; words of three letters and fewer are left out, they have too many neighbours.

    >>> SimilarWords(["pneumothorax", "pneumonia"]).nearest("pnuemothorax")
    (Similar(word='pneumothorax', similarity=0.9583333333333334),)
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._words = sorted({word for word in words if len(word) >= _SHORTEST})
        self._sounds = [sound_of(word) for word in self._words]
        self._sizes = np.array([len(_trigrams(word)) for word in self._words])
        holders: dict[str, list[int]] = {}
        for index, word in enumerate(self._words):
            for trigram in _trigrams(word):
                holders.setdefault(trigram, []).append(index)
        self._holders = {trigram: np.array(indices) for trigram, indices in holders.items()}
        self.nearest = lru_cache(maxsize=_REMEMBERED)(self._nearest)

    def _nearest(self, word: str) -> tuple[Similar, ...]:
        """Words that `word` may be a misspelling of, the likeliest first."""
        sound = sound_of(word)
        found = [Similar(self._words[index], self._similarity(word, sound, index)) for index in self._candidates(word)]
        return tuple(
            sorted((item for item in found if item.similarity), key=lambda item: (-item.similarity, item.word))
        )

    def _candidates(self, word: str) -> list[int]:
        """The few words that share the largest part of their trigrams with `word` (Dice coefficient)."""
        trigrams = _trigrams(word)
        holders = [self._holders[trigram] for trigram in trigrams if trigram in self._holders]
        if not holders:
            return []
        shared = 2 * np.bincount(np.concatenate(holders), minlength=len(self._words))
        dice = shared / (self._sizes + len(trigrams))
        near = np.flatnonzero(dice > max(_SHARED, _BEHIND * dice.max()))
        return near[np.argsort(-dice[near], kind="stable")[:_CANDIDATES]].tolist()

    def _similarity(self, word: str, sound: str, index: int) -> float:
        other, other_sound = self._words[index], self._sounds[index]
        length = len(other)
        if word == other:
            return 1.0
        if length < _LONG and not _start_alike(word, other) and sound[:1] != other_sound[:1]:
            return 0.0
        if length == _SHORTEST:
            return _SHORT_SLIP if _is_swapped_or_doubled(word, other) else 0.0
        allowed = next(slips for longest, slips in _SLIPS if length <= longest)
        written = count_slips(other, word) if abs(length - len(word)) <= 2 * allowed else length
        if written > 2 * allowed:
            return 0.0
        slips = min(written, (written + count_slips(other_sound, sound)) / 2)
        return 1 - slips / length if slips <= allowed else 0.0


@lru_cache(maxsize=_REMEMBERED)
def same_word(word: str) -> str:
    """One spelling for the British and the American form of a word and its plural; lower case in, lower case out."""
    return _rewritten(word, "same")


def sound_of(word: str) -> str:
    """The word as it is heard, roughly."""
    return _rewritten(word, "sound")


def _is_swapped_or_doubled(word: str, other: str) -> bool:
    if len(word) == len(other):
        return sorted(word) == sorted(other) and count_slips(word, other) <= 1
    return _DOUBLED.sub(r"\1", word) == _DOUBLED.sub(r"\1", other)


def _start_alike(first: str, second: str) -> bool:
    """Whether the first letters are equal or both vowels, up to one letter too many or missing before them."""
    return first[0] in second[:2] or second[0] in first[:2] or (first[0] in _VOWELS and second[0] in _VOWELS)


def _trigrams(word: str) -> set[str]:
    padded = f"  {word}  "
    return {padded[index : index + 3] for index in range(len(padded) - 2)}


def _rewritten(word: str, stage: str) -> str:
    for pattern, replacement in _rules(stage):
        word = pattern.sub(replacement, word)
    return word


@lru_cache(maxsize=2)
def _rules(stage: str) -> Sequence[tuple[re.Pattern[str], str]]:
    rows = [row for row in read_rows("letters.csv") if row["stage"] == stage]
    return [(re.compile(row["pattern"]), row["replacement"]) for row in rows]
