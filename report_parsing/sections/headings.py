"""Headings in the plain text of a report (report_parsing.sections.layout), by the words of `data/headings.csv`.

A known heading differs from the first words of a sentence by its position and by what closes it:

    at the start of a line, before a colon     FINDINGS:   1. Findings:   **Impression:**   IMPRESSION (PA and lateral):
    there or where a sentence begins           Impression - Normal.   [FINDINGS]   ... clear. impression: normal
    alone on a line that the wrapping did not end
    in capitals before the text itself         FINDINGS The lungs are clear.
    within a line, capitalised, before a colon     cough Comparison: none
    as a tag                                   <FINDINGS>...</FINDINGS>, <AbstractText Label="FINDINGS">
    as a name in quotes                        "findings": "The lungs are clear."

All but the first and the last are for the headings of form `any` only. An unlisted heading is one when it stands at the
start of a line before a colon, and is in capitals while what follows is not, or is the title of an image ("XR Chest
12/3 :"), or names people or codes, each word with a capital ("Primary Interpreting Staff:").
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from report_parsing.resources import read_rows
from report_parsing.sections.heading_words import (
    ANY,
    OPENING,
    OTHER,
    Listed,
    by_its_words,
    headings_by_first_word,
    look_up,
    look_up_misspelt,
    look_up_title,
)
from report_parsing.sections.layout import is_short

_LONGEST = 5  # words of a heading within a line

# A line, the end of a heading, a tag or bracket, capitals behind small letters, and what may begin a sentence.
_POSITION = re.compile(
    r"""[\n:<\[.!?;\ –—-]
    (?: (?<=\n) \ *+ (?!\n) | (?<=[:<\[]) | (?<=[ ][–—-])(?![^ \n]) | (?<=[a-zß-ÿ\d,)\]_X][ ]) \ *+ (?=[A-ZÀ-Þ]{4})
      | (?<=[.!?;]) \ *+ (?=[A-ZÀ-Þ]{4}) | (?<=[.!?;]) \ ++ (?=[*\#=(]|\d{1,2}[.)]) )""",
    re.VERBOSE,
)
_COLON_AHEAD = re.compile(r"[^\n:]*+:")
_PREFIX = re.compile(
    r"""[-*•●▪◦‣■□◆◇►▶○➢➤✓§·\#=~\[|>{"']{0,6}+ \ *+
    (?:\d{1,2}(?:\.\d{1,2})++[.)]?\ ++|\(?(?:\d{1,2}|[IVX]{1,4}|[A-Za-z])[.)]\ *+)?+ [*\#\[{"']{0,4}+ \ *+""",
    re.VERBOSE,
)
_NUMERALS = frozenset({"I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X"})
_FIRST_WORD = re.compile(r"[^\W\d_][^\W_]*+")
_CLOSING = re.compile(
    r"""(?:\.{2,}+(?=\ *+[:;]))?+ \ *+ (?:\([^()\n]*+\))?+ (?:\ *+\#?\d[\d/.-]{0,9}+(?=\ *+[:;]))?+ \ *+
    (?: (?P<colon> [\]}*"']{0,4} \ *+ [:;]++ (?:-{1,2}+(?=[ \n]|[A-Z]))?+ \*{0,3} | [\]}*=~|\#]{1,6}+ (?![>\d]) )
      | (?P<dash> [-–—]{1,3}+ (?=[ \n]|\Z) | (?<=\ )[-–—]{1,3}+ (?=[A-Z]) | [-–—=]{1,2}+> | [→⇒] )
      | (?P<alone> (?=\n|\Z) )
      | (?P<stop> \. (?=\ +[A-Z]) ) )?""",
    re.VERBOSE,
)
_NEXT_LINE = re.compile(r" *+\n *+(?:(?:[-=~*#]{3,}+|_{8,}+) *+(?=\n|\Z)|:)")  # its colon, or a line under it
_WORD_OF_HEADING = r"(?:[\w,/()&#'-]|\.(?! )|(?<=\d):(?=\d))*+"
_TO_COLON = re.compile(rf"([^\W\d_]{_WORD_OF_HEADING}(?: +{_WORD_OF_HEADING}){{0,7}}+) *+:(?!(?<=\d:)\d):*+")
_NEXT_WORD = re.compile(r"[ \n]*+([^\W\d_]++|[\d_(#])")
_SMALL_LETTERS_SOON = re.compile(r"[ \n]*+(?:[^ \na-z]++[ \n]++){0,11}+[^ \na-z]*+[a-z]")
_TAG = re.compile(
    r"<(/?)(?:[a-z]{1,20} +label=[\"'])?([a-z/]++(?: ++[a-z/]++){0,5}+)[\"']? *+>", re.IGNORECASE | re.ASCII
)


class Heading(NamedTuple):
    """A heading and the section it opens; `main` when it names the section itself, not an organ or an image."""

    start: int
    end: int
    section: str
    main: bool


def find_headings(text: str) -> list[Heading]:
    """The headings of a plain text, in order; they never overlap."""
    heading = _opening(text, len(text) - len(text.lstrip()), line=True)
    found = [heading] if heading else []
    seen = heading.end if heading else 0  # the end of the last heading, or of a position that none reaches across
    for position in _POSITION.finditer(text):
        start, end = position.span()
        if end < seen:
            continue
        mark = text[start]
        heading = None
        if mark == "<":
            heading = _tag(text, start)
        elif mark in ":–—-":
            heading = _closed(text, seen, start) if start >= seen else None
        elif mark != " " or not _goes_on(text, start):
            heading = _opening(text, start if mark == "[" else end, line=mark == "\n")
        if heading:
            found.append(heading)
            seen = heading.end
        elif mark != " ":
            seen = end
    return found


def _opening(text: str, start: int, line: bool) -> Heading | None:
    """The heading that a line or a sentence begins with."""
    first = _FIRST_WORD.match(text, start)
    begin = start
    if (
        first is None
        or first[0] in _NUMERALS
        or (len(first[0]) == 1 and text[first.end() : first.end() + 1] in (".", ")"))
    ):
        prefix = _PREFIX.match(text, start)
        begin = prefix.end() if prefix else start
        first = _FIRST_WORD.match(text, begin)
        if first is None:
            return None
    pattern = headings_by_first_word().get(first[0].lower())
    match = pattern.match(text, begin) if pattern else None
    if match:
        for end in (match.end(), first.end()):  # "COMPARISON Radiograph of ..." begins with one that fits, and is none
            closing = _CLOSING.match(text, end)
            listed = look_up(text[begin:end])
            if closing and listed and _is_heading(text, begin, end, listed, closing, line):
                end = _end(text, closing) if closing.lastgroup else end
                return Heading(start, end, listed.section, listed.main)
    return _unlisted(text, start, begin) if line and _COLON_AHEAD.match(text, begin) else None


def _end(text: str, closing: re.Match[str]) -> int:
    """Where a heading ends: behind what closes it, and what belongs to it on the next line."""
    below = _NEXT_LINE.match(text, closing.end())
    return below.end() if below else closing.end()


def _is_heading(text: str, begin: int, end: int, listed: Listed, closing: re.Match[str], line: bool) -> bool:
    written = text[begin:end]
    if closing.lastgroup == "colon":
        return line or listed.form == ANY or written.isupper()
    if listed.form == OPENING:
        return line and written[0].isupper()
    if listed.form != ANY:
        return False
    if closing.lastgroup == "dash":
        return True
    if closing.lastgroup == "stop":
        return line and written[0].isupper() and _stands_alone(text, begin, end)
    if closing.lastgroup == "alone":
        return _stands_alone(text, begin, end) if line else written.isupper()
    return written.isupper() and _begins_text(text, closing.end(), line)


def _stands_alone(text: str, begin: int, end: int) -> bool:
    """Whether a heading without a mark is none of the words of a wrapped sentence, which may end in "findings"."""
    before = _line_before(text, begin)
    if not before or before[-1] in ".!?:;)]_" or (text[begin:end].isupper() and not before.isupper()):
        return True
    goes_on = before[-1] in ",-/(" or _goes_on(before, len(before)) or _is_bound(text, end)
    return (text[begin].isupper() or is_short(before)) and not goes_on


def _line_before(text: str, position: int) -> str:
    """The line before that of a position, trimmed."""
    end = max(text.rfind("\n", 0, position), 0)
    return text[text.rfind("\n", 0, end) + 1 : end].strip()


def _goes_on(text: str, end: int) -> bool:
    """Whether a sentence goes on behind this position, so that no heading stands there: "see the", "no acute"."""
    word = text[text.rfind(" ", 0, end) + 1 : end]
    return word[word.rfind("\n") + 1 :].lower() in words_of("leads")


def _begins_text(text: str, start: int, line: bool) -> bool:
    """Whether a heading in capitals stands before this text: it needs no subject, and capitals are not the rule."""
    following = _NEXT_WORD.match(text, start)
    if following is None or (following[1].islower() and not line):
        return False
    if _is_bound(text, start):
        return False
    if _SMALL_LETTERS_SOON.match(text, start):
        return True
    before = _line_before(text, start) if line else ""
    return before != before.upper()


def _is_bound(text: str, start: int) -> bool:
    """Whether what follows makes a sentence of the words before it: "are consistent with", "OF A MASS"."""
    following = _NEXT_WORD.match(text, start)
    return following is not None and following[1].lower() in words_of("bound") and not following[1].istitle()


def _closed(text: str, start: int, close: int) -> Heading | None:
    """The heading that a colon or a dash within a line closes: the most of the last words that are listed."""
    words = text[start:close].rsplit(None, _LONGEST + 1)
    begin = close
    starts = [begin := text.rindex(word, start, begin) for word in reversed(words)][:_LONGEST]
    for begin in reversed(starts):
        written = text[begin:close].rstrip()
        if begin == starts[0]:  # "normal.Impression:"
            begin += written.rfind(".") + 1
            written = text[begin:close].rstrip()
        quoted = written.strip("\"'{,") if written[-1:] in ("'", '"') else ""
        if quoted and (listed := look_up(quoted.replace("_", " "))):
            return Heading(begin, close + 1, listed.section, listed.main)
        listed = look_up(written)
        if listed is None and begin == starts[0] and written.isupper():
            listed = look_up_misspelt(written)
        if listed is None:
            continue
        one_case = written.isupper() or not words[-1].isupper()  # not "Clinical FINDINGS:"
        before = text[start:begin].rstrip() or text[start - 1 : start]
        if listed.form == OPENING and before[-1:] in ".!?" and text[close] == ":":
            return Heading(begin, close + 1, listed.section, listed.main)
        if listed.form == ANY and one_case and _may_follow(before, written, text[close]):
            return Heading(begin, close + 1, listed.section, listed.main)
        if one_case:
            return None
    return None


def _may_follow(before: str, heading: str, closing: str) -> bool:
    """Whether a heading can stand behind this part of a line: where a sentence begins, or told by its capital."""
    if before[-1:] in ".!?:":
        return True
    if closing != ":":
        return False
    if heading.isupper() and not before[before.rfind(" ") + 1 :].isupper():
        return True
    # Small letters must do in a text without capitals.
    return (heading[:1].isupper() or before.islower()) and not _goes_on(before, len(before))


def _tag(text: str, start: int) -> Heading | None:
    match = _TAG.match(text, start)
    listed = look_up(match[2]) if match else None
    if match is None or listed is None:
        return None
    return Heading(start, match.end(), OTHER if match[1] else listed.section, True)


def _unlisted(text: str, start: int, begin: int) -> Heading | None:
    """A misspelt heading, the title of an image, what names staff or codes, or one in capitals that is not listed."""
    match = _TO_COLON.match(text, begin)
    if match is None:
        return None
    words = match[1]
    listed = look_up_misspelt(words) or look_up_title(words)
    if listed is None:
        if not words.isupper() or len(words) < 3 or words.split(" ", 1)[0].lower() in words_of("begins"):
            return None
        if not _SMALL_LETTERS_SOON.match(text, match.end()):
            return None
        listed = by_its_words(words)
    return Heading(start, match.end(), listed.section, listed.main)


@cache
def words_of(kind: str) -> frozenset[str]:
    """The words of one kind in sentence_words.csv."""
    return frozenset(row["word"] for row in read_rows("sentence_words.csv") if row["kind"] == kind)
