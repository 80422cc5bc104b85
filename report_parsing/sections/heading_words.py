"""The headings that are known, and what an unknown one is about: `data/headings.csv`, looked up in constant time."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from report_parsing.language.slips import one_less
from report_parsing.resources import language_files, read_rows

SUBHEADING, UNLISTED, OTHER, FINDINGS = "=", "unlisted", "other", "findings"
ANY, OPENING = "any", "opening"  # forms of headings.csv; an empty one needs a line start and a colon
_WORD, _TITLE = "word", "title"
_NUMBER = re.compile(r"#?\d[\d.:]*(?:st|nd|rd|th)?|_+")
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


def look_up_title(written: str) -> Listed | None:
    """What a heading of several words is, in whatever case, that is the title of an image or names people or codes."""
    words = [word for word in _SEPARATORS.split(_key(written)) if word and not _NUMBER.fullmatch(word)]
    told = {_telling_words()[word] for word in words if word in _telling_words()}
    images = Listed(FINDINGS, _WORD)
    if images in told and len(words) > 1 and all(_is_of_title(word) for word in words):
        return images
    if told == {Listed(OTHER, _WORD)} and len(words) > 1 and all(word[0].isupper() for word in written.split()):
        return Listed(OTHER, "")
    return None


def _is_of_title(word: str) -> bool:
    return word in _title_words() or _telling_words().get(word) == Listed(FINDINGS, _WORD)


@cache
def headings_by_first_word() -> dict[str, re.Pattern[str]]:
    """First word -> what matches the listed headings that begin with it, the longest that fits."""
    by_first: dict[str, list[str]] = {}
    for heading in sorted(_headings(), key=len, reverse=True):
        by_first.setdefault(re.split(r"\W", heading)[0], []).append(_pattern(heading))
    return {
        first: re.compile(f"(?:{'|'.join(patterns)})(?![^\\W_]|['’])", re.IGNORECASE)
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
    """The rows of English, and behind them those of all other languages; templates mix them."""
    files = ["headings.csv", *language_files("headings.csv")]
    return [(row["heading"], Listed(row["section"], row["form"])) for name in files for row in read_rows(name)]


@cache
def _headings() -> dict[str, Listed]:
    headings: dict[str, Listed] = {}
    for heading, listed in _rows():
        if listed.form not in (_WORD, _TITLE):
            headings.setdefault(heading, listed)
    return headings


@cache
def _telling_words() -> dict[str, Listed]:
    """Words that tell what an unlisted heading is about: of organs, of images."""
    return {word: listed for word, listed in _rows() if listed.form == _WORD}


@cache
def _title_words() -> frozenset[str]:
    """Further words that the title of an image may have."""
    return frozenset(word for word, listed in _rows() if listed.form == _TITLE)
