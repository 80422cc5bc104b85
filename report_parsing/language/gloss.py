"""Sentences of another language, word by word in English, for the parser that reads English.

A language is data: `data/languages/<code>/lexicon.csv` says what its words are in English, so its findings, places,
negations and doubts are those of the English lexicon. Accents need not be written. Adjectives that stand behind their
noun come to stand in front of it: "derrame pleural izquierdo" is "left pleural effusion".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import chain
from typing import NamedTuple

from report_parsing.language.detection import ENGLISH
from report_parsing.language.readable import readable
from report_parsing.resources import LANGUAGES, language_files, read_cell, read_rows

# The languages that triplets are read from: those with a lexicon, and English.
PARSED = frozenset({ENGLISH, *(name.split("/")[1] for name in language_files("lexicon.csv"))})
NOUN, ADJECTIVE, JOIN = "noun", "adjective", "join"  # kinds of lexicon.csv; all others stay where they are
_TOKEN = re.compile(r"[^\W\d_]+|\d+(?:[.,]\d+)*|_+|[^\w\s]")
_ENDINGS = re.compile(r"\(([^()]*)\)")
_BEGINNING, _END = "^", "$"  # of a sentence, in a form of lexicon.csv
_CLINGS = frozenset(".,:;)?!")  # marks that no blank stands in front of

Span = tuple[int, int]


class _Entry(NamedTuple):
    kind: str
    english: str


class _Piece(NamedTuple):
    """Characters of the sentence, and what they are in English."""

    kind: str
    english: str
    start: int
    end: int


class Gloss(NamedTuple):
    """A sentence in English, and the characters of the original that each of its characters stands for."""

    text: str
    origins: list[Span]

    def span(self, start: int, end: int) -> Span:
        """The characters of the original from the first to the last that a span of the gloss stands for."""
        starts, ends = zip(*self.origins[start:end], strict=True)
        return min(starts), max(ends)


def is_parsed(language: str | None) -> bool:
    """Whether triplets can be read from reports in a language; None: a report without text."""
    return language is None or language in PARSED


def gloss(sentence: str, language: str) -> Gloss:
    """The sentence in English; words that the language's lexicon does not know stay as they are."""
    text, origins = "", []
    for piece in _reordered(list(_pieces(sentence, language))):
        blank = " " if text and piece.english not in _CLINGS else ""
        text += blank + piece.english
        origins += [(piece.start, piece.end)] * (len(blank) + len(piece.english))
    return Gloss(text, origins)


def _pieces(sentence: str, language: str) -> Iterator[_Piece]:
    """The longest forms that fit, one behind the other, and the tokens that fit none."""
    read = readable(sentence)
    tokens = [(match[0], read.span(*match.span())) for match in _TOKEN.finditer(read.text)]
    end = len(tokens) - bool(tokens and tokens[-1][0] in _CLINGS)
    tokens = [(_BEGINNING, (0, 0)), *tokens[:end], (_END, (0, 0)), *tokens[end:]]
    words = [_plain(word) for word, _ in tokens]
    lexicon, longest = _lexicon(language)
    place = 0
    while place < len(words):
        for length in range(min(longest.get(words[place], 1), len(words) - place), 0, -1):
            entry = lexicon.get(" ".join(words[place : place + length]))
            if entry:
                break
        else:
            entry, length = _Entry("word", "" if tokens[place][1] == (0, 0) else tokens[place][0].lower()), 1
        places = [span for _, span in tokens[place : place + length] if span != (0, 0)]
        yield _Piece(*entry, *((places[0][0], places[-1][1]) if places else (0, 0)))
        place += length


def _reordered(pieces: list[_Piece]) -> Iterator[_Piece]:
    """The pieces with the adjectives behind each noun in front of it, the last one first, and joined ones together."""
    place = 0
    while place < len(pieces):
        noun = pieces[place]
        place += 1
        groups: list[list[_Piece]] = []
        while noun.kind == NOUN and place < len(pieces) and pieces[place].kind == ADJECTIVE:
            group = [pieces[place]]
            place += 1
            while place + 1 < len(pieces) and pieces[place].kind == JOIN and pieces[place + 1].kind == ADJECTIVE:
                group += pieces[place : place + 2]
                place += 2
            groups.append(group)
        yield from (piece for piece in chain(*reversed(groups), [noun]) if piece.english)


@cache
def _lexicon(language: str) -> tuple[dict[str, _Entry], dict[str, int]]:
    """(form -> its entry, first word of a form -> words of the longest form that begins with it)."""
    entries: dict[str, _Entry] = {}
    longest: dict[str, int] = {}
    for row in read_rows(f"{LANGUAGES}/{language}/lexicon.csv"):
        for form in chain.from_iterable(map(_inflected, read_cell(row["forms"]))):
            words = _TOKEN.findall(_plain(form))
            entries.setdefault(" ".join(words), _Entry(row["kind"], row["english"]))
            longest[words[0]] = max(longest.get(words[0], 1), len(words))
    return entries, longest


def _inflected(form: str) -> Iterator[str]:
    """The forms of a word with its endings in brackets: "izquierd(o,a)" is "izquierdo" and "izquierda"."""
    endings = _ENDINGS.search(form)
    if endings is None:
        yield form
        return
    for ending in endings[1].split(","):
        yield from _inflected(form[: endings.start()] + ending + form[endings.end() :])


def _plain(word: str) -> str:
    """The word in small letters, without accents."""
    lowered = word.lower()
    if lowered.isascii():
        return lowered
    return "".join(c for c in unicodedata.normalize("NFD", lowered) if not unicodedata.combining(c))
