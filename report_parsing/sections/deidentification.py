"""The marks that stand where an identifier was removed: they are neither words nor do they join words.

___          MIMIC-CXR          XXXX         Open-i, which also lost innocent words: "x-XXXX", "Port-A-XXXX"
[**Name**]   MIMIC-III          U+FFFD       bytes that a decoder could not read
"""

from __future__ import annotations

import re

from report_parsing.language.readable import is_plain, readable

# The first character is looked for, the branches say what it is: several times faster than branches alone.
_MARK = re.compile(
    r"""[_Xx\ufffd\[]
    (?: (?<=_)_*+ | (?<=X)XX[^\W_]*+ | (?<=x)xxx[^\W_]*+ | (?<=\ufffd)\ufffd*+ | (?<=\[)\*\*[^\[\]]*+\] )""",
    re.VERBOSE,
)
# What ties a mark to its neighbours: hyphens and slashes, with a single letter before them; the ending of a name.
_TIE_BEFORE = re.compile(r"(?:(?<![^\W_])[A-Za-z])?[-/]{1,2}\Z")
_TIE_BEHIND = re.compile(r"(?:['’][a-z]{1,2}\b)?[-/]{0,2}")
_LEFT_OVER = re.compile(r"\( ?\)|,(?= ?[,.;])")  # what stood in brackets or between commas
_BEFORE_PUNCTUATION = re.compile(r" (?=[,.;:)])")
_WORD = re.compile(r"[^\W_]+")


def without_marks(text: str) -> str:
    """The text with a blank for every mark and what ties it to its neighbours."""
    if not ("XXX" in text or "_" in text or "[**" in text or "xxxx" in text or "\ufffd" in text):
        return text
    first, *others = _MARK.split(text)
    if not others:
        return text
    kept = [first]
    for piece in others:
        kept[-1] = _without_tie(kept[-1])
        kept.append(_TIE_BEHIND.sub("", piece, count=1) if piece[:1] in "'’-/" else piece)
    return " ".join(kept)


def clean_text(text: str) -> str:
    """The text as it is read, on one line, without marks and what they leave behind: "x-XXXX (___)." is "."."""
    return clean_line(text if is_plain(text) else readable(text).text)


def clean_line(text: str) -> str:
    """The same of a text that is in plain characters already."""
    spoken = without_marks(text)
    line = " ".join(spoken.split())
    if spoken is not text:
        line = " ".join(_LEFT_OVER.sub("", line).split())
    return _BEFORE_PUNCTUATION.sub("", line) if _has_loose_punctuation(line) else line


def _has_loose_punctuation(line: str) -> bool:
    return " ." in line or " ," in line or " ;" in line or " :" in line or " )" in line


def has_words(text: str) -> bool:
    """Whether anything but marks and punctuation is said."""
    first = _WORD.search(text)
    if first is None or (first[0][0] not in "Xx" and "[**" not in text):  # most texts need no second look
        return first is not None
    return _WORD.search(without_marks(text)) is not None


def count_words(text: str) -> int:
    """Tokens of the papers' minimum-token rule: runs of letters and digits."""
    return len(_WORD.findall(without_marks(text if is_plain(text) else readable(text).text)))


def _without_tie(piece: str) -> str:
    """The text in front of a mark, without its tie."""
    tie = _TIE_BEFORE.search(piece[-4:]) if piece[-1:] in "-/" else None
    return piece[: len(piece) - len(tie[0])] if tie else piece
