"""Sections of a MIMIC-CXR style report, as spans of the original text.

A heading stands at the start of a line and ends with a colon; `data/headings.csv` says which section it opens. The
rules follow the published sectioning of MIMIC-CXR (empty findings and impressions do not count, the last paragraph
stands in only when a report has neither), but headings may be in any case and every occurrence of a section is kept.
"""

from __future__ import annotations

import re
from functools import cache

from report_parsing.resources import read_rows

Span = tuple[int, int]
Sections = dict[str, list[Span]]

PREAMBLE, LAST_PARAGRAPH, OTHER, SUBHEADING = "preamble", "last_paragraph", "other", "="
_HEADING = re.compile(r"^[ \t]*(?P<heading>[A-Za-z][A-Za-z0-9 \t,/()&#'.-]{0,60}):", re.MULTILINE)
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")


def split_sections(report: str) -> Sections:
    """Section name -> spans of its bodies in `report`, trimmed, in order of appearance, never empty."""
    bodies = [(0, 0, PREAMBLE), *_headings(report)]
    ends = [start for start, _, _ in bodies[1:]] + [len(report)]
    sections: Sections = {}
    for (_, body, name), end in zip(bodies, ends, strict=True):
        start, end = trim(report, body, end)
        if end > start:
            sections.setdefault(name, []).append((start, end))
    if "findings" not in sections and "impression" not in sections:
        _split_last_paragraph(report, sections)
    return sections


def trim(report: str, start: int, end: int) -> Span:
    """The span without white space at its ends."""
    body = report[start:end]
    start += len(body) - len(body.lstrip())
    return start, start + len(body.strip())


def _headings(report: str) -> list[tuple[int, int, str]]:
    """(start of the heading, start of its body, section) of every heading that opens a section."""
    found: list[tuple[int, int, str]] = []
    for match in _HEADING.finditer(report):
        written = match["heading"].strip()
        name = _known_headings().get(" ".join(written.lower().split()))
        if name is None and written.isupper() and len(written) > 2:
            name = OTHER
        if name is not None and not (name == SUBHEADING and found):
            found.append((match.start(), match.end(), OTHER if name == SUBHEADING else name))
    return found


@cache
def _known_headings() -> dict[str, str]:
    return {row["heading"]: row["section"] for row in read_rows("headings.csv")}


def _split_last_paragraph(report: str, sections: Sections) -> None:
    """Cut the last paragraph off the section that ends the report, unless that section is nothing else."""
    if not sections:
        return
    name, (start, end) = max(((n, spans[-1]) for n, spans in sections.items()), key=lambda item: item[1])
    breaks = [start, *(match.end() for match in _BLANK_LINE.finditer(report, start, end))]
    if len(breaks) > 1:
        sections[name][-1] = trim(report, start, breaks[-1])
        sections[LAST_PARAGRAPH] = [trim(report, breaks[-1], end)]
    elif name == PREAMBLE:
        sections[LAST_PARAGRAPH] = sections.pop(PREAMBLE)
