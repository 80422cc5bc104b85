"""A sentence as lines of limited length, with single blanks between words.

A text without full stops is read in pieces, so that time grows linearly with its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_LINE = re.compile(r"\S(?:.{0,1198}\S)?(?!\S)|\S{1,1200}")
_WORD = re.compile(r"\S+")


def split_lines(sentence: str) -> list[str]:
    """The sentence with single blanks, in pieces."""
    return _LINE.findall(" ".join(sentence.split()))


def lines_with_origins(sentence: str) -> Iterator[tuple[str, list[int]]]:
    """Every line with the position in the sentence of each of its characters."""
    origin: list[int] = []
    words = list(_WORD.finditer(sentence))
    for word in words:
        if origin:
            origin.append(origin[-1] + 1)
        origin.extend(range(*word.span()))
    for match in _LINE.finditer(" ".join(word[0] for word in words)):
        yield match[0], origin[match.start() : match.end()]
