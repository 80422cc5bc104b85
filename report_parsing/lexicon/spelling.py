"""Corrects a misspelt word that is one slip away from exactly one of the long words of the lexicon.

A slip is a letter too many, missing, wrong, or two letters swapped (Damerau 1964: four of five misspellings).
Candidates are found by the deletions that two words have in common, so a look-up does not depend on how many words
there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from report_parsing.language.slips import count_slips, one_less

SHORTEST = 7  # letters; shorter words have too many true neighbours
_REMEMBERED = 50_000


class Spelling:
    """Corrects towards `words`; `others` are words that are right as they are."""

    def __init__(self, words: Iterable[str], others: Iterable[str] = ()) -> None:
        self._known = {*words, *others}
        self._by_deletion: dict[str, set[str]] = {}
        for word in words:
            if len(word) >= SHORTEST and word.isalpha():
                for shorter in one_less(word):
                    self._by_deletion.setdefault(shorter, set()).add(word)
        self.correct = lru_cache(maxsize=_REMEMBERED)(self._correct)

    def _correct(self, word: str) -> str:
        """The word that is meant, or the word itself."""
        if word in self._known or len(word) < SHORTEST or not word.isalpha():
            return word
        near = {
            candidate
            for shorter in one_less(word)
            for candidate in self._by_deletion.get(shorter, ())
            if candidate[0] == word[0] and count_slips(word, candidate) == 1
        }
        return near.pop() if len(near) == 1 else word
