"""The headings that are known, and what an unknown one is about: `data/headings.csv`, looked up in constant time."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from report_parsing.language.slips import one_less
from report_parsing.resources import read_rows

SUBHEADING, UNLISTED, OTHER, FINDINGS = "=", "unlisted", "other", "findings"
ANY, OPENING = "any", "opening"  # forms of headings.csv; an empty one needs a line start and a colon
_WORD = "word"
_SEPARATORS = re.compile(r"[ /,()&-]+")
_SHORTEST, _LONGEST = 7, 20  # letters of a word in which one typing error is forgiven


class Listed(NamedTuple):
    """What headings.csv says of a heading."""

    section: str
    form: str

    @property
    def main(self) -> bool:
        """Whether it names its section itself, and not an image whose findings follow."""
        return self.section != FINDINGS or self.form in (ANY, OPENING)


def look_up(written: str) -> Listed | None:
    """The row of a heading as it was written; None where it has none."""
    headings = _headings()
    return headings.get(written.lower()) or headings.get(_key(written))


def look_up_misspelt(written: str) -> Listed | None:
    """The row of a heading that is not listed but for one typing error per word."""
    key = _key(written)
    corrected = _corrected(key)
    return _headings().get(corrected) if corrected != key else None


def by_its_words(written: str) -> Listed:
    """What an unlisted heading is about: "COMPARISON TO PRIOR", "CHEST TUBE", "CT IMPRESSION", "CHEST, 1 VIEW"."""
    words = [word for word in _SEPARATORS.split(_corrected(_key(written))) if word]
    first, last = _headings().get(words[0]), _headings().get(words[-1])
    if first and first.form == ANY:
        return first
    told = [_telling_words()[word] for word in words if word in _telling_words()]
    if any(listed.section == SUBHEADING for listed in told):
        return Listed(SUBHEADING, "")
    if last and last.form == ANY:
        return last
    return told[0] if told else Listed(UNLISTED, ANY)


@cache
def headings_by_first_word() -> dict[str, re.Pattern[str]]:
    """First word -> what matches the listed headings that begin with it, the longest that fits."""
    by_first: dict[str, list[str]] = {}
    for heading in sorted(_headings(), key=len, reverse=True):
        by_first.setdefault(re.split(r"\W", heading)[0], []).append(_pattern(heading))
    return {
        first: re.compile(f"(?:{'|'.join(patterns)})(?![A-Za-z0-9'’])", re.IGNORECASE | re.ASCII)
        for first, patterns in by_first.items()
    }


def _pattern(heading: str) -> str:
    """What matches a heading in plain text however many blanks are in it."""
    words = re.escape(heading).replace(r"\ and\ ", " *(?:&| and ) *").replace(r"\ ", " +")
    return words.replace("/", " */ *").replace(",", " *,")


def _key(written: str) -> str:
    """The written heading as headings.csv has it."""
    words = " ".join(written.lower().replace("&", " and ").split())
    return words.replace(" /", "/").replace("/ ", "/").replace(" ,", ",")


def _corrected(key: str) -> str:
    """The heading with those words put right that differ from a main heading's by one letter."""
    return " ".join(_misspelt_word(word) for word in key.split(" "))


def _misspelt_word(word: str) -> str:
    if not _SHORTEST - 1 <= len(word) <= _LONGEST:
        return word
    return next((known for near in one_less(word) if (known := _near_words().get(near))), word)


@cache
def _near_words() -> dict[str, str]:
    """Words of main headings, whole and without one of their letters -> the word."""
    words = {word for heading, listed in _headings().items() if listed.form == ANY for word in heading.split()}
    long = sorted(word for word in words if len(word) >= _SHORTEST and word.isalpha())
    return {near: word for word in reversed(long) for near in reversed(one_less(word))}


@cache
def _rows() -> list[tuple[str, Listed]]:
    return [(row["heading"], Listed(row["section"], row["form"])) for row in read_rows("headings.csv")]


@cache
def _headings() -> dict[str, Listed]:
    return {heading: listed for heading, listed in _rows() if listed.form != _WORD}


@cache
def _telling_words() -> dict[str, Listed]:
    """Words that tell what an unlisted heading is about: of organs, of images."""
    return {word: listed for word, listed in _rows() if listed.form == _WORD}
