"""Sentences of a section, as spans of the report: numbered lists, decimals, abbreviations and line breaks are handled."""

from __future__ import annotations

import re

from report_parsing.sections import Span

# words that end in a full stop without ending the sentence
_ABBREVIATIONS = frozenset(
    "dr mr mrs ms st vs eg ie ca cf approx resp incl nos fig figs no max min wt yr yrs post ant inf sup".split()
)
_END = re.compile(
    r"""
      (?P<stop>[.!?]+["')\]]*)(?=\s|$)             # a full stop before white space
    | (?P<glued>(?<=[a-z)])\.)(?=[A-Z][a-z])        # "effusion.The"
    | (?P<gap>\n[ \t\r]*\n\s*)                      # a blank line
    | (?P<item>(?<=\s)\(?\d{1,2}[.)](?=\s))         # the next item of a numbered list
    | (?P<bullet>(?<=\n)[ \t]*[-*•](?=\s))          # the next bullet
    """,
    re.VERBOSE,
)
_MARKER = re.compile(r"\s*(?:\(?\d{1,2}[.)](?=\s)|[-*•](?=\s))\s*")
_WORD_BEFORE = re.compile(r"[A-Za-z.]+$")
_LONGEST_WORD = 24


def split_sentences(report: str, start: int, end: int) -> list[Span]:
    """Spans of the sentences of `report[start:end]`, without list markers, each holding a letter or digit."""
    spans: list[Span] = []
    begin = start
    for match in _END.finditer(report, start, end):
        if match.start() < begin or not _ends_sentence(report, begin, match):
            continue
        stop = match.start() if match.lastgroup in ("gap", "item", "bullet") else match.end()
        _add(report, begin, stop, spans)
        begin = match.start() if match.lastgroup in ("item", "bullet") else match.end()
    _add(report, begin, end, spans)
    return spans


def _ends_sentence(report: str, begin: int, match: re.Match[str]) -> bool:
    if match.lastgroup == "item":
        return _starts_item(report, begin, match)
    if match.lastgroup != "stop" or match["stop"] != ".":
        return True
    before = report[max(begin, match.start() - _LONGEST_WORD) : match.start()]
    word = _WORD_BEFORE.search(before)
    if word is None:  # "1." opens a list, "2.5" never gets here, "measures 4 cm." does not end in a digit
        return before.strip(" \t\r\n(").isdigit() is False or len(before.split()) > 1
    if word[0].lower() == "no":  # "No. 3" against "... there is no."
        return not re.match(r"\s+\d", report[match.end() : match.end() + 4])
    if "." in word[0]:  # "5 p.m. today" against "at 5 p.m. The"
        return report[match.end() : match.end() + 3].strip()[:1].isupper()
    return word[0].lower() not in _ABBREVIATIONS


def _starts_item(report: str, begin: int, match: re.Match[str]) -> bool:
    """A number in front of a new sentence: after a line break, or after a sentence that has ended."""
    gap = report[max(begin, match.start() - 3) : match.start()]
    return "\n" in gap or not gap.strip() or gap.rstrip()[-1:] in ".;:"


def _add(report: str, start: int, end: int, spans: list[Span]) -> None:
    marker = _MARKER.match(report, start, end)
    if marker and marker.end() < end:
        start = marker.end()
    body = report[start:end]
    start += len(body) - len(body.lstrip())
    end = start + len(body.strip())
    if any(character.isalnum() for character in report[start:end]):
        spans.append((start, end))
