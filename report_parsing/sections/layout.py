"""How a text is laid out, and which differences of layout carry no meaning.

Two reports count as the same when they differ only in
    - the characters that end their lines (LF, CR LF, CR, form feed, NEL, Unicode's separators),
    - the kind and number of blanks between words, before and behind a line (tabs, no-break blanks),
    - the number of empty lines that follow each other, and empty lines at either end of the text.
Sections and sentences are read from `plain` text, and blanks are never counted, so these differences have no effect.
The end of a line, and an empty line behind it, do carry meaning.
"""

from __future__ import annotations

import re
import string
from typing import NamedTuple

from report_parsing.language.readable import readable

Span = tuple[int, int]


class Section(NamedTuple):
    """A piece of a report: its heading is report[start:body], its body report[body:end], white space included."""

    name: str
    start: int
    body: int
    end: int


LINE_ENDS = "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
BLANKS = "\t\x1f\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_SEEN = frozenset(string.ascii_letters + string.digits + ".,:!?()[]%/-'#=+")  # always read as they are
_SHORT_LINE = 45  # characters; reports are wrapped at 60 to 80
_ODD = re.compile(f"[{LINE_ENDS}{BLANKS}]")
_PLAIN = str.maketrans({**dict.fromkeys(LINE_ENDS, "\n"), **dict.fromkeys(BLANKS, " ")})


def plain(text: str) -> str:
    """The text, character for character, with blanks and line feeds as its only white space."""
    return text.replace("\r\n", " \n").translate(_PLAIN) if _ODD.search(text) else text


def trim(text: str, start: int, end: int) -> Span:
    """The span without white space at its ends, nor characters and marks there that are not read."""
    body = text[start:end]
    start += len(body) - len(body.lstrip())
    body = body.strip()
    if not body or (body[0] in _SEEN and body[-1] in _SEEN):
        return start, start + len(body)
    read = readable(body)
    begin = len(read.text) - len(read.text.lstrip())
    stop = begin + len(read.text.strip())
    if begin == stop:
        return start, start
    begin, stop = read.span(begin, stop)
    return start + begin, start + stop


def is_short(line: str) -> bool:
    """Whether its writer, not the wrapping, ended the line."""
    return len(line) < _SHORT_LINE or len(" ".join(line.split())) < _SHORT_LINE
