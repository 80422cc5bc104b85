"""The language of a report, by its words: `data/languages/<code>/words.csv`. Short reports and abbreviations work.

A report is English unless another language has more of its words than English has, and words that English never has. So
doubt is English. A language without a folder is told by letters that are not Latin, by letters with accents, or where
not one of several long words is English; its code is "und".
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import NamedTuple

from report_parsing.language.readable import readable
from report_parsing.resources import LANGUAGES, language_files, read_cell, read_rows

ENGLISH, UNKNOWN = "en", "und"  # und: "undetermined" in ISO 639-2
_LEAST_SHARE = 1 / 8  # of the words, that a foreign language must have; names do not make a report foreign
_END = 100  # characters at each end of a text
_LONG, _LONG_WORDS = 5, 7  # letters of a word, and such words, that one English word must be among
_FOREIGN_LETTERS = 0.3  # share of letters that are not Latin
_WORD = re.compile(r"[^\W\d_]+")
_NAME = r"[^\W\d_a-zß-ÿ][^\W\d_]+"  # begins with a capital
_PARTICLES = r"(?:(?:de|del|di|della|do|da|dos|das|du|des|der|van|von|zu|la|las|los|el|le|les|rechts|y|e|i|et|und)\s+)*"
_NAMES = re.compile(rf"\b{_NAME}(?:\s+{_PARTICLES}{_NAME})+\b")


class _Words(NamedTuple):
    certain: frozenset[str]
    shared: frozenset[str]


def language_of(text: str) -> str:
    """ISO 639-1 code of the language that a text is written in: "en" in doubt, "und" where it is none of ours."""
    if text.isascii() and _begins_and_ends_english(text):
        return ENGLISH
    read = readable(text).text
    found = _most_likely(_words_of(read))
    return ENGLISH if found != ENGLISH and _is_english_beside_names(read) else found


def language_name(code: str) -> str:
    """The language in English: "German", "an unknown language"."""
    if code == UNKNOWN:
        return "an unknown language"
    return next(row["words"] for row in read_rows(f"{LANGUAGES}/{code}/words.csv") if row["kind"] == "name")


def _begins_and_ends_english(text: str) -> bool:
    """Whether both ends of a text have English words and none that English never has: told at once, and most have."""
    ends = text if len(text) <= 2 * _END else f"{text[:_END]} {text[-_END:]}"
    words = (
        ends.lower()
        .replace("non-", " ")
        .replace(".", " ")
        .replace(",", " ")
        .replace(":", " ")
        .replace("-", " ")
        .split()
    )
    marked = "<" in ends or "*" in ends or "\\" in ends
    return not marked and _foreign_words().isdisjoint(words) and not _english_words().isdisjoint(words)


def _words_of(text: str) -> list[str]:
    return _WORD.findall(text.lower().replace("non-", " "))  # "non-displaced" is English


def _is_english_beside_names(text: str) -> bool:
    """Whether a text is English but for names: "film of Hospital General de Vic. No effusion."."""
    rest, names = _NAMES.subn(" ", text)
    words = _words_of(rest) if names else []
    return not _english_words().isdisjoint(words) and _foreign_words().isdisjoint(words)


def _most_likely(words: list[str]) -> str:
    languages = _languages()
    english = sum(word in languages[ENGLISH].certain for word in words)
    best, most = ENGLISH, max(english, len(words) * _LEAST_SHARE)
    candidates = {code for word in words for code in _foreign_words_of().get(word, ())}
    for code in sorted(candidates, key=lambda code: (-len(languages[code].certain), code)):  # those known best first
        certain, shared = languages[code]
        score = sum(word in certain or word in shared for word in words)
        if score > most:
            best, most = code, score
    return UNKNOWN if best == ENGLISH and _is_unknown(words, english) else best


def _is_unknown(words: list[str], english: int) -> bool:
    """Whether the words are of no language that is listed."""
    letters = "".join(words)
    strange = sum(not letter.isascii() and not _is_latin(letter) for letter in letters)
    if strange > len(letters) * _FOREIGN_LETTERS:
        return True
    accented = sum(any(not letter.isascii() and _is_latin(letter) for letter in word) for word in words)
    if accented > english:
        return True
    return english == 0 and len({word for word in words if len(word) >= _LONG}) >= _LONG_WORDS


def _is_latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith("LATIN")


@cache
def _languages() -> dict[str, _Words]:
    """Code of a language -> its words."""
    return {name.split("/")[1]: _read_words(name) for name in language_files("words.csv")}


def _read_words(name: str) -> _Words:
    found: dict[str, set[str]] = {"certain": set(), "shared": set(), "name": set()}
    for row in read_rows(name):
        found[row["kind"]].update(read_cell(row["words"]))
    return _Words(frozenset(found["certain"]), frozenset(found["shared"]))


@cache
def _english_words() -> frozenset[str]:
    return _languages()[ENGLISH].certain


@cache
def _foreign_words() -> frozenset[str]:
    return frozenset(_foreign_words_of())


@cache
def _foreign_words_of() -> dict[str, list[str]]:
    """A word that English never has -> the languages that have it."""
    found: dict[str, list[str]] = {}
    for code, words in _languages().items():
        for word in words.certain if code != ENGLISH else ():
            found.setdefault(word, []).append(code)
    return found
