"""Which name a written term means: first exactly, then by the nearest alias whatever the order of its words.

The inexact comparison is a soft TF-IDF (Cohen, Ravikumar, Fienberg, IIWeb 2003). A word of the term stands for every
word of an alias that it equals or may be a misspelling of, and words that many names share weigh little. An alias
scores the share of it that the term says, times the root of the share of the term that it explains: "renal failure" is
not heart failure, because of what it leaves out, and "effusion cocktail" is no effusion, because of what it adds.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from report_parsing.knowledge.similar_words import SimilarWords, same_word
from report_parsing.resources import read_cell, read_rows

_LIGHT = 0.2  # weight of a word of qualifiers.csv; a word that one name only has weighs about 6
_EVERY = 1.0  # weight of a word that all names have
_QUALIFIER = 0.8  # weight of such a word where an alias does not explain it, though others hold it
_MISSPELT = 0.8  # similarity from which on a word counts as one of them, misspelt
_JOINED = 0.85  # similarity from which on a term with other blanks is taken for an alias
_FUNCTION = ("function", "preposition")
_HEAD = 2.0  # the word that says what a thing is weighs this much more where an alias does not explain it
_SAID = 0.5  # an alias of which less is said is not looked at
_INEXACT = 0.99  # the most that an inexact match scores
_WORD = re.compile(r"[^\W_]+")
_POSSESSIVE = re.compile(r"['’]s\b")


class Candidate(NamedTuple):
    """A name, its alias that is nearest, and how near (1: the same)."""

    name: str
    alias: str
    score: float


class _Alias(NamedTuple):
    text: str
    name: str
    words: frozenset[str]


class _Said(NamedTuple):
    """A word of the term: the words of aliases that it may be, and its weight where an alias does not explain it."""

    readings: Mapping[str, float]
    weight: float


class TermIndex:
    """Aliases and the names they stand for; where two names share an alias the first one keeps it.

    Args:
        aliases: (alias, name) in order of precedence; the name is empty for what is known not to be an observation.
    """

    def __init__(self, aliases: Iterable[tuple[str, str]]) -> None:
        self._families = _read_families()
        self._qualifiers = _read_qualifiers()
        named: dict[str, tuple[str, str]] = {}
        for text, name in aliases:
            named.setdefault(key_of(text), (text, name))
        named.pop("", None)
        self._weights = self._word_weights(named.values())
        self._unknown = max(self._weights.values(), default=1.0)
        self._aliases = [self._alias(text, name) for text, name in named.values()]
        self._by_key = {key: index for index, key in enumerate(named)}
        self._holders: dict[str, list[tuple[int, float]]] = {}  # word -> aliases, and its share of their weight
        for index, alias in enumerate(self._aliases):
            weight = sum(self._weights[word] for word in alias.words)
            for word in alias.words:
                self._holders.setdefault(word, []).append((index, self._weights[word] / weight))
        self._words_of_name: dict[str, set[str]] = {"": set()}  # what is no observation has nothing in common
        for alias in self._aliases:
            if alias.name:
                self._words_of_name.setdefault(alias.name, set()).update(alias.words)
        spelt = {word for text, _ in named.values() for word in words_of(text)}
        self._similar = SimilarWords({*spelt, *named, *self._qualifiers})

    def exact(self, term: str) -> Candidate | None:
        """The name of an alias that is the term but for case, blanks, hyphens, plural and British spelling."""
        index = self._by_key.get(key_of(term))
        return None if index is None else Candidate(self._aliases[index].name, self._aliases[index].text, 1.0)

    def nearest(self, term: str) -> list[Candidate]:
        """Names with their nearest aliases, the nearest first; the name of what is no observation is empty."""
        words = words_of(term)
        scores = self._scores(words)
        if max(scores.values(), default=0.0) < _JOINED:
            scores |= self._as_one_word(words)
        scores = {index: min(score, _INEXACT) for index, score in scores.items()}
        if (same := self._by_key.get("".join(words))) is not None:
            scores[same] = 1.0
        best: dict[str, Candidate] = {}
        for index in sorted(scores, key=lambda index: (-scores[index], index)):
            alias = self._aliases[index]
            best.setdefault(alias.name, Candidate(alias.name, alias.text, scores[index]))
        return list(best.values())

    def aliases_of(self, name: str) -> list[str]:
        """Every alias that stands for a name."""
        return [alias.text for alias in self._aliases if alias.name == name]

    def _scores(self, words: Sequence[str]) -> dict[int, float]:
        """Score of every alias of which enough is said, by the words it shares with the term."""
        said = self._heard(words)
        readings: dict[str, float] = {}
        for item in said:
            for word, similarity in item.readings.items():
                readings[word] = max(similarity, readings.get(word, 0.0))
        shares: dict[int, float] = {}
        for word, similarity in readings.items():
            for index, share in self._holders.get(word, ()):
                shares[index] = shares.get(index, 0.0) + share * similarity
        return {
            index: share * math.sqrt(self._explained(self._aliases[index], said))
            for index, share in shares.items()
            if share > _SAID
        }

    def _explained(self, alias: _Alias, said: Sequence[_Said]) -> float:
        """Share of the term that the words of the alias account for; words of the name's other aliases hurt little."""
        inside = outside = 0.0
        akin = self._words_of_name[alias.name]
        for item in said:
            if not item.readings.keys().isdisjoint(alias.words):
                inside += max(self._weights[word] for word in item.readings if word in alias.words)
            elif item.readings.keys().isdisjoint(akin):
                outside += item.weight
            else:
                outside += min(item.weight, _QUALIFIER)
        return inside / (inside + outside)

    def _as_one_word(self, words: Sequence[str]) -> dict[int, float]:
        """Aliases of several words that one may be, and those of one word that several may be: "cardio megally"."""
        return {
            index: similarity
            for key, similarity in self._similar.nearest("".join(words))
            if similarity >= _JOINED
            and (index := self._by_key.get(key)) is not None
            and (len(words) == 1) != (len(self._aliases[index].words) == 1)
        }

    def _heard(self, words: Sequence[str]) -> list[_Said]:
        head = self._head(words)
        return [self._hear(word, _HEAD if index == head else 1.0) for index, word in enumerate(words)]

    def _hear(self, word: str, factor: float) -> _Said:
        known = self._families.get(word, word)
        kind = self._qualifiers.get(word)
        if known in self._holders:
            return _Said({known: 1.0}, self._weights[known] * factor if kind is None else _unexplained(kind))
        if kind is not None:
            return _Said({}, _LIGHT)
        readings: dict[str, float] = {}
        for item in self._similar.nearest(word):
            readings.setdefault(self._families.get(item.word, item.word), item.similarity)
        likeliest = next(iter(readings), "")
        if likeliest in self._qualifiers and readings[likeliest] >= _MISSPELT:
            return _Said(readings, self._hear(likeliest, factor).weight)
        return _Said(readings, self._unknown * factor)

    def _head(self, words: Sequence[str]) -> int | None:
        """Where the word stands that says what the term is: the last weighty one, or the last before an "of"."""
        head = None
        for index, word in enumerate(words):
            if self._qualifiers.get(word) == "preposition" and head is not None:
                break
            if word not in self._qualifiers:
                head = index
        return head

    def _alias(self, text: str, name: str) -> _Alias:
        return _Alias(text, name, frozenset(self._families.get(word, word) for word in words_of(text)))

    def _word_weights(self, named: Iterable[tuple[str, str]]) -> dict[str, float]:
        """Weight of each word of the aliases: the fewer names it occurs in, the more it says."""
        names: dict[str, set[str]] = {}
        for text, name in named:
            for word in words_of(text):
                names.setdefault(self._families.get(word, word), set()).add(name)
        total = len(set().union(*names.values()))
        return {
            word: _LIGHT if self._qualifiers.get(word) in _FUNCTION else _EVERY + math.log(1 + total / len(holders))
            for word, holders in names.items()
        }


def words_of(term: str) -> list[str]:
    """The words of a term: lower case, no accents, American spelling, singular; marks between them are blanks."""
    plain = unicodedata.normalize("NFKD", term).lower()
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return [same_word(word) for word in _WORD.findall(_POSSESSIVE.sub("", plain))]


def key_of(term: str) -> str:
    """What is equal for terms that differ in case, blanks, hyphens, plural and British spelling only."""
    return "".join(words_of(term))


def _unexplained(kind: str) -> float:
    """Weight of a qualifier that some alias holds: where a thing is never matters, how it is may."""
    return _LIGHT if kind in (*_FUNCTION, "place") else _QUALIFIER


def _read_families() -> dict[str, str]:
    families: dict[str, str] = {}
    for row in read_rows("word_families.csv"):
        words = [same_word(word) for word in read_cell(row["words"])]
        families.update(dict.fromkeys(words, words[0]))
    return families


def _read_qualifiers() -> dict[str, str]:
    return {same_word(word): row["kind"] for row in read_rows("qualifiers.csv") for word in read_cell(row["words"])}
