"""Phrases found in a list of words: a tree with a branch for every word, walked once from every word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


class PhraseTree:
    """Phrases, each with what it stands for. Finding costs the words times the length of the longest phrase."""

    def __init__(self) -> None:
        self._root: dict[str, Any] = {}

    def add(self, phrase: Sequence[str], meaning: object) -> None:
        """Remember a phrase; one phrase may have several meanings."""
        node = self._root
        for word in phrase:
            node = node.setdefault(word, {})
        node.setdefault("", []).append(meaning)  # no word is empty

    def find(self, words: Sequence[str]) -> Iterator[tuple[int, int, Any]]:
        """(first word, word behind the last, meaning) of every phrase, overlapping ones included."""
        root = self._root
        last = len(words)
        for start in range(last):
            node = root.get(words[start])
            end = start + 1
            while node is not None:
                for meaning in node.get("", ()):
                    yield start, end, meaning
                if end == last:
                    break
                node = node.get(words[end])
                end += 1
