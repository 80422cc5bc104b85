"""Abbreviations that a report defines itself: "diffuse idiopathic skeletal hyperostosis (DISH)", then "DISH" alone.

Only innermost brackets count and only the words beside them, so time grows with the text (scispacy's detector pairs
every bracket with every other). Reports are full of brackets that define nothing, "(stable)", "(AP)", so the short form
must be written in capitals, and in a report that is all capitals it must be made of the initials.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from report_parsing.lexicon.initials import find_long_form

Span = tuple[int, int]  # characters of the report

_BRACKETS = re.compile(r"\(([^()\n]{2,80})\)")
_WORD = re.compile(r"[^\s()]+")
_SHORT = re.compile(r"(?!X+$)(?=(?:[^A-Z]*[A-Z]){2})[A-Za-z][A-Za-z0-9&-]{1,9}")  # two capitals, no XXXX
_USE = re.compile(r"[A-Za-z][A-Za-z0-9&-]*")
_STOPS = re.compile(r"[.;:!?](?=\s)|[()]|\n\s*\n")  # a long form lies within a sentence
_LOOK_BACK = 400  # characters before a bracket in which a long form may stand


class Abbreviation(NamedTuple):
    """A short form with its long form as first defined, and every place where the short form stands."""

    short: str
    long: str  # words joined by single blanks
    long_span: Span
    uses: tuple[Span, ...]  # the definition among them


class AbbreviationFinder:
    """Finds what a report abbreviates.

    >>> AbbreviationFinder().expansions("Chronic obstructive pulmonary disease (COPD). No COPD exacerbation.")
    {'COPD': 'Chronic obstructive pulmonary disease'}
    """

    def find(self, report: str) -> list[Abbreviation]:
        """The abbreviations that a report defines, in their order; a form defined twice keeps its first meaning."""
        long_spans: dict[str, Span] = {}
        for bracket in _BRACKETS.finditer(report):
            found = self._find_definition(report, bracket)
            if found is not None:
                long_spans.setdefault(*found)
        uses: dict[str, list[Span]] = {short: [] for short in long_spans}
        for word in _USE.finditer(report) if uses else ():
            if word[0] in uses:
                uses[word[0]].append(word.span())
        return [
            Abbreviation(short, " ".join(report[slice(*span)].split()), span, tuple(uses[short]))
            for short, span in long_spans.items()
        ]

    def expansions(self, report: str) -> dict[str, str]:
        """Long form by short form, for whoever reads the report's sentences."""
        return {item.short: item.long for item in self.find(report)}

    def _find_definition(self, report: str, bracket: re.Match[str]) -> tuple[str, Span] | None:
        """Short form and the characters of its long form: "long form (SF)" or "SF (long form)"."""
        inside = [word.span() for word in _WORD.finditer(report, *bracket.span(1))]
        if len(inside) == 1 and _SHORT.fullmatch(bracket[1].strip()):
            short = bracket[1].strip()
            return self._long_form(
                report, short, _words_before(report, bracket.start(), min(len(short) + 5, 2 * len(short)))
            )
        before = _words_before(report, bracket.start(), 1)
        if len(inside) > 1 and before and _SHORT.fullmatch(short := report[slice(*before[0])]):
            return self._long_form(report, short, inside)
        return None

    def _long_form(self, report: str, short: str, words: Sequence[Span]) -> tuple[str, Span] | None:
        first = find_long_form(short, [report[start:end] for start, end in words])
        if first is None:
            return None
        span = words[first][0], words[-1][1]
        while not report[span[1] - 1].isalnum():
            span = span[0], span[1] - 1
        return (short, span) if _is_plausible(short, report[slice(*span)]) else None


def _words_before(report: str, end: int, count: int) -> list[Span]:
    """The last words before a bracket, within its sentence."""
    start = max(0, end - _LOOK_BACK)
    start = max((stop.end() for stop in _STOPS.finditer(report, start, end)), default=start)
    return [word.span() for word in _WORD.finditer(report, start, end)][-count:]


def _is_plausible(short: str, long: str) -> bool:
    """Whether the long form is longer and does not hold the short one; in capitals, whether initials make it up."""
    if len(long) <= len(short) or short in long.split():
        return False
    if long != long.upper():
        return True
    initials = iter(word[0] for word in _USE.findall(long.replace("-", " ")))
    return all(letter in initials for letter in short if letter.isalpha())
