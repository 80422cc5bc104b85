"""Sections as the published parser of MIMIC-CXR cuts and names them: MIT-LCP/mimic-cxr, `txt/section_parser.py`.

    - A heading is made of capitals, blanks and ()/,- behind a line feed and one blank, before a colon and white space.
    - Headings are named by `data/reference_headings.csv`. One that is not there keeps its own name, in lower case.
    - What stands before the first heading is the `preamble`. A text without headings is a `full report`.
    - Findings and impressions without text count as absent.
    - A report that has neither ends in a `last_paragraph`: what stands behind the first "line feed, blank, line feed"
      of its last section, whichever that is.

The parser's lists of single studies with sections of their own (23 names, 31 ranges) are left out: its table of
sections does not hold these studies either.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from report_parsing.resources import read_rows
from report_parsing.sections.layout import Section

HISTORY = "history"  # the reference tells it from `indication`
_HEADING = re.compile(r"\n ([A-Z ()/,-]++):\s")
_BREAK = "\n \n"
_NEVER_EMPTY = frozenset({"findings", "impression"})


def tile_as_published(report: str) -> list[Section]:
    """The sections of a text that is not empty, in order, as `report_parsing.sections.parser.tile` gives them."""
    headings = list(_HEADING.finditer(report))
    if not headings:
        return _with_last_paragraph(report, [Section("full report", 0, 0, len(report))], [len(report)])
    starts = [heading.start(1) for heading in headings]
    sections = [Section("preamble", 0, 0, starts[0])]
    for heading, end in zip(headings, [*starts[1:], len(report)], strict=True):
        sections.append(Section(_name(heading[1]), heading.start(1), heading.end(), end))
    # Where the reference ends a body: in front of the line feed that begins the next heading, but for the preamble.
    ends = [starts[0], *(heading.start() for heading in headings[1:]), len(report)]
    return _with_last_paragraph(report, sections, ends)


def is_absent(name: str, body: str) -> bool:
    """Whether the reference leaves a section out; it keeps other sections that have no text."""
    return name in _NEVER_EMPTY and not body.strip()


def _with_last_paragraph(report: str, sections: list[Section], ends: list[int]) -> list[Section]:
    kept = [
        index
        for index, section in enumerate(sections)
        if not is_absent(section.name, report[section.body : ends[index]])
    ]
    if not report or any(sections[index].name in _NEVER_EMPTY for index in kept):
        return sections
    last = kept[-1]
    name, start, body, end = sections[last]
    cut = report.find(_BREAK, body, ends[last])
    if cut < 0:
        return sections
    cut += len(_BREAK)
    return [
        *sections[:last],
        Section(name, start, body, cut),
        Section("last_paragraph", cut, cut, end),
        *sections[last + 1 :],
    ]


@lru_cache(maxsize=4096)
def _name(heading: str) -> str:
    written = heading.lower().strip()
    whole, parts = _names()
    return whole.get(written) or next((name for part, name in parts if part in written), written)


@cache
def _names() -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Heading -> section, and (part of a heading, section) in the order of the reference."""
    rows = read_rows("reference_headings.csv")
    whole = {row["heading"]: row["section"] for row in rows if row["match"] == "whole"}
    return whole, [(row["heading"], row["section"]) for row in rows if row["match"] == "part"]
