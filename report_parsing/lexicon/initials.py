"""Whether letters stand for words: Schwartz and Hearst, "A simple algorithm for identifying abbreviation definitions in
biomedical text" (PSB 2003), section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence


def find_long_form(short: str, words: Sequence[str]) -> int | None:
    """Index of the first of the last `words` for which `short` stands; None where it stands for none.

    From right to left, each letter or digit of `short` takes the next place in the words where it occurs; the first one
    takes the beginning of a word or of a part of it. Capitals do not count.

    >>> find_long_form("COPD", ["severe", "chronic", "obstructive", "pulmonary", "disease"])
    1
    """
    text = " ".join(words)
    place = len(text)
    for position in range(len(short) - 1, -1, -1):
        letter = short[position].lower()
        if letter.isalnum():
            place = _find_before(text, place, letter, at_beginning=position == 0)
            if place < 0:
                return None
    return text.count(" ", 0, place) if place < len(text) else None


def _find_before(text: str, end: int, letter: str, at_beginning: bool) -> int:
    """The last place of `letter` in `text[:end]`, if asked for at the beginning of a word or of a part; -1 without."""
    for place in range(end - 1, -1, -1):
        if text[place].lower() == letter and not (at_beginning and place and text[place - 1].isalnum()):
            return place
    return -1
