"""Misspelt words of the lexicon, put right when they are one slip away from exactly one of its long words.

A slip is a letter too many, missing, wrong, or two letters swapped (Damerau 1964: four of five misspellings).
Candidates are found by the deletions that two words have in common, so a look-up does not depend on how many words
there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

SHORTEST = 7  # letters; shorter words have too many true neighbours
_REMEMBERED = 50_000


class Spelling:
    """Corrects towards `words`; `others` are words that are right as they are."""

    def __init__(self, words: Iterable[str], others: Iterable[str] = ()) -> None:
        self._known = {*words, *others}
        self._by_deletion: dict[str, set[str]] = {}
        for word in words:
            if len(word) >= SHORTEST and word.isalpha():
                for shorter in (word, *_deletions(word)):
                    self._by_deletion.setdefault(shorter, set()).add(word)
        self.correct = lru_cache(maxsize=_REMEMBERED)(self._correct)

    def _correct(self, word: str) -> str:
        """The word that is meant, or the word itself."""
        if word in self._known or len(word) < SHORTEST or not word.isalpha():
            return word
        near = {
            candidate
            for shorter in (word, *_deletions(word))
            for candidate in self._by_deletion.get(shorter, ())
            if candidate[0] == word[0] and is_one_slip(word, candidate)
        }
        return near.pop() if len(near) == 1 else word


def is_one_slip(first: str, second: str) -> bool:
    """Whether one insertion, deletion, substitution or swap of neighbours turns one word into the other."""
    if len(first) > len(second):
        first, second = second, first
    if len(second) - len(first) > 1:
        return False
    start = next((index for index, letter in enumerate(first) if letter != second[index]), len(first))
    if len(first) < len(second):
        return first[start:] == second[start + 1 :]
    swapped = first[start + 1 : start + 2] + first[start : start + 1] + first[start + 2 :]
    return first[start + 1 :] == second[start + 1 :] or swapped == second[start:]


def _deletions(word: str) -> Iterable[str]:
    return (word[:index] + word[index + 1 :] for index in range(len(word)))
