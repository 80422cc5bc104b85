"""Writes out short forms that a report defines itself, and keeps the span of the report behind each character."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from report_parsing.lexicon.abbreviations import AbbreviationFinder
from report_parsing.sections.layout import Span

_NEAR = 4  # characters between a short form and a bracket


class Use(NamedTuple):
    """Characters of a report that stand for longer words."""

    start: int
    end: int
    long: str


def find_abbreviated(report: str, finder: AbbreviationFinder, is_known: Callable[[str], bool]) -> list[Use]:
    """Uses of short forms outside their definitions, in order; forms that are known as they are stay."""
    if "(" not in report:
        return []
    uses = [
        Use(start, end, item.long)
        for item in finder.find(report)
        if not is_known(item.short)
        for start, end in item.uses
        if not _defines(report, start, end)
    ]
    return sorted(uses)


def write_out(report: str, sentence: Span, uses: Sequence[Use]) -> tuple[str, list[Span]]:
    """The sentence with the uses inside it written out, and the span of the report that each character stands for."""
    start, end = sentence
    pieces: list[str] = []
    origin: list[Span] = []
    for use in uses:
        if start <= use.start and use.end <= end:
            pieces += [report[start : use.start], use.long]
            origin.extend((place, place + 1) for place in range(start, use.start))
            origin.extend([(use.start, use.end)] * len(use.long))
            start = use.end
    pieces.append(report[start:end])
    origin.extend((place, place + 1) for place in range(start, end))
    return "".join(pieces), origin


def _defines(report: str, start: int, end: int) -> bool:
    """Whether the short form stands in brackets behind its long form, or in front of them."""
    before, after = report[max(0, start - _NEAR) : start], report[end : end + _NEAR]
    return before.rstrip().endswith("(") or after.lstrip().startswith("(")
