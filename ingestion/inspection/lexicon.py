"""Knows what columns and cells of exports are called in four languages: `words.yaml`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

WORDS = Path(__file__).with_name("words.yaml")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SIGNS = re.compile(r"[^a-z0-9]+")
WHOLE, WORD, PART = 3, 2, 1  # how well a name fits
_LONG = 5  # letters of a name that counts within another one


def words_of(name: str) -> list[str]:
    """The words of a name: without capitals, accents and signs, parted at signs and at capitals within."""
    spaced = _CAMEL.sub(" ", name)
    plain = unicodedata.normalize("NFKD", spaced.replace("ß", "ss")).encode("ascii", "ignore").decode().lower()
    return [word for word in _SIGNS.split(plain) if word]


def joined(name: str) -> str:
    """The words of a name as one."""
    return "".join(words_of(name))


def fit(name: str, role: str) -> int:
    """How well the name of a column fits a role: WHOLE, WORD, PART, or 0."""
    known = _load()["columns"].get(role, ())
    whole, words = joined(name), words_of(name)
    if _holds(whole, words, _load()["never"].get(role, ())):
        return 0
    if whole in known:
        return WHOLE
    if set(words) & set(known):
        return WORD
    return PART if any(len(one) >= _LONG and one in whole for one in known) else 0


def is_never(name: str, role: str) -> bool:
    """Whether the name of a column says that it is something else than the role."""
    return _holds(joined(name), words_of(name), _load()["never"].get(role, ()))


def label_of(name: str) -> str:
    """The finding that a column or a cell names; empty where it names none that is known."""
    return _labels().get(joined(name), "")


def meaning(role: str, word: str) -> str:
    """What a word of a cell means, in the words of the reader; empty where it is not known."""
    return str(_load()["values"].get(role, {}).get(joined(word), ""))


def writes_day_first(names: Iterable[str]) -> bool:
    """Whether the names of the columns are in a language that writes the day before the month."""
    return not {joined(name) for name in names}.isdisjoint(_load()["day_first"])


def _holds(whole: str, words: list[str], known: Iterable[str]) -> bool:
    return any(one in words or (len(one) >= _LONG and one in whole) for one in known)


@cache
def _load() -> Any:
    return yaml.safe_load(WORDS.read_text(encoding="utf-8"))


@cache
def _labels() -> dict[str, str]:
    named = {joined(label): label for label in _load()["labels"]}
    return named | {word: label for label, words in _load()["labels"].items() for word in words}
