"""Sentences of a section, as spans of the report; lists, decimals, abbreviations and line breaks are handled."""

from __future__ import annotations

import re

from report_parsing.sections import Span

# words that end in a full stop without ending the sentence
_ABBREVIATIONS = frozenset(
    ("dr", "mr", "mrs", "ms", "st", "vs", "eg", "ie", "ca", "cf", "approx", "resp", "incl", "fig", "figs", "max", "min")
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
        cut = _cut(report, begin, match) if match.start() >= begin else None
        if cut is not None:
            _add(report, begin, cut[0], spans)
            begin = cut[1]
    _add(report, begin, end, spans)
    return spans


def _cut(report: str, begin: int, match: re.Match[str]) -> Span | None:
    """Where the sentence ends and the next one begins, or None when it goes on."""
    if match.lastgroup in ("gap", "glued"):
        return match.end(), match.end()
    if match.lastgroup == "bullet" or (match.lastgroup == "item" and _starts_item(report, begin, match)):
        return match.start(), match.start()
    if match[0] == "." and not _stops(report, begin, match):
        return None
    return (match.end(), match.end()) if match[0][-1] != ")" or match.lastgroup == "stop" else None


def _starts_item(report: str, begin: int, match: re.Match[str]) -> bool:
    """A number in front of a new sentence: after a line break, or after a sentence that has ended."""
    gap = report[max(begin, match.start() - 3) : match.start()]
    return "\n" in gap or not gap.strip() or gap.rstrip()[-1:] in ".;:"


def _stops(report: str, begin: int, match: re.Match[str]) -> bool:
    """Whether a full stop ends the sentence and not just an abbreviation."""
    before = report[max(begin, match.start() - _LONGEST_WORD) : match.start()]
    word = _WORD_BEFORE.search(before)
    if word is None:  # the "1." of a list opens a sentence
        return not before.strip().isdigit()
    if word[0].lower() == "no":  # "no. 3" against "there is no."
        return not re.match(r"\s+\d", report[match.end() : match.end() + 4])
    if "." in word[0]:  # "5 p.m. today" against "at 5 p.m. The"
        return report[match.end() : match.end() + 3].strip()[:1].isupper()
    return word[0].lower() not in _ABBREVIATIONS


def _add(report: str, start: int, end: int, spans: list[Span]) -> None:
    marker = _MARKER.match(report, start, end)
    if marker and marker.end() < end:
        start = marker.end()
    body = report[start:end]
    start += len(body) - len(body.lstrip())
    end = start + len(body.strip())
    if any(character.isalnum() for character in report[start:end]):
        spans.append((start, end))
