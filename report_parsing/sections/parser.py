"""Sections of a chest report: MIMIC-CXR, Open-i, and reports typed freely. They tile the report.

Sections are examination, indication, technique, comparison, findings, impression, addendum, `other` (calls, names,
recommendations, wet reads, unlisted headings), `preamble` (before the first heading) and `last_paragraph` (what is
read where a report has neither findings nor impression). `sections.headings` finds the headings. Choices:

    - An organ's heading ("LUNGS:") is text of findings, impression, addendum and `other`, and opens findings elsewhere.
    - An image's title ("CHEST, TWO VIEWS:") opens findings, unless they are open or an impression has just begun.
    - A heading that has both names, "FINDINGS AND IMPRESSION:", opens findings.
    - Each addendum is a section. Its own findings and impression count like any others, as a later or an earlier
      occurrence; "FINAL REPORT" ends an addendum or a wet read above the report.
    - The last paragraph is cut off the last section that is neither `other` nor an addendum: all that stands behind
      that section's first empty line. A text without headings is taken whole, but for a title.

`reference` cuts and names sections as the published parser of MIMIC-CXR (report_parsing.sections.reference). There
indentation and line ends matter. They carry no meaning in the mended sections (`sections.layout`).
"""

from __future__ import annotations

import re
from typing import Literal

from report_parsing.language.readable import is_plain, readable
from report_parsing.sections.heading_words import FINDINGS, OTHER, SUBHEADING, UNLISTED
from report_parsing.sections.headings import Heading, find_headings
from report_parsing.sections.layout import Section, Span, plain, trim
from report_parsing.sections.reference import is_absent, tile_as_published

Sectioning = Literal["mended", "reference"]
Sections = dict[str, list[Span]]

PREAMBLE, IMPRESSION, ADDENDUM, LAST_PARAGRAPH = "preamble", "impression", "addendum", "last_paragraph"
_HOLD_ORGANS = frozenset({FINDINGS, IMPRESSION, ADDENDUM, OTHER})
_NEVER_LAST = frozenset({ADDENDUM, OTHER, UNLISTED})
_EMPTY_LINE = re.compile(r"\n *\n[ \n]*")


def tile(report: str, sectioning: Sectioning = "mended") -> list[Section]:
    """The sections in order; the first starts at 0, each where the one before ends, the last ends with the report."""
    if sectioning == "reference":
        return tile_as_published(report) if report else []
    if is_plain(report):
        return _tile_plain(report)
    read = readable(report, emphasis=True)
    sections = _tile_plain(plain(read.text))
    if read.starts is None:
        return sections
    if not sections:  # nothing that is read
        return [Section(PREAMBLE, 0, 0, len(report))]
    return [Section(name, *(read.place(cut, len(report)) for cut in cuts)) for name, *cuts in sections]


def split_sections(report: str, sectioning: Sectioning = "mended") -> Sections:
    """Section name -> spans of its bodies in `report`, trimmed, in order of appearance, never empty."""
    return bodies(report, tile(report, sectioning))


def bodies(report: str, sections: list[Section], published: bool = False) -> Sections:
    """The trimmed bodies of a report's sections by name; bodies without text are left out.

    `published` leaves out only those that the reference leaves out: an empty comparison hides an earlier one.
    """
    found: Sections = {}
    for name, _, body, end in sections:
        start, end = trim(report, body, end)
        if end > start or (published and not is_absent(name, "")):
            found.setdefault(name, []).append((start, end))
    return found


def _tile_plain(text: str) -> list[Section]:
    return _named(_with_last_paragraph(text, _cut(text, _opening_headings(text, find_headings(text)))))


def _opening_headings(text: str, headings: list[Heading]) -> list[Heading]:
    """The headings that open a section, with the name of that section."""
    opening: list[Heading] = []
    name, body = PREAMBLE, 0
    for heading in headings:
        if heading.section == SUBHEADING:
            if name in _HOLD_ORGANS:
                continue
            heading = heading._replace(section=FINDINGS, end=heading.start)
        elif heading.section == PREAMBLE:
            if name == PREAMBLE:
                continue
            heading = heading._replace(end=heading.start)
        elif not heading.main and (name == FINDINGS or (name == IMPRESSION and text[body : heading.start].isspace())):
            continue
        name, body = heading.section, heading.end
        opening.append(heading)
    return opening


def _cut(text: str, headings: list[Heading]) -> list[Section]:
    """The text cut at its headings. What stands before the first is the preamble, unless it is white space."""
    starts = [(heading.section, heading.start, heading.end) for heading in headings]
    if not starts or text[: starts[0][1]].strip():
        starts.insert(0, (PREAMBLE, 0, 0))
    else:
        starts[0] = (starts[0][0], 0, starts[0][2])
    ends = [start for _, start, _ in starts[1:]] + [len(text)]
    return [Section(*start, end) for start, end in zip(starts, ends, strict=True) if end]


def _named(sections: list[Section]) -> list[Section]:
    return [section._replace(name=OTHER) if section.name == UNLISTED else section for section in sections]


def _with_last_paragraph(text: str, sections: list[Section]) -> list[Section]:
    if _is_read(text, sections):
        return sections
    filled = [(index, *trim(text, section.body, section.end)) for index, section in enumerate(sections)]
    filled = [found for found in filled if found[1] < found[2] and sections[found[0]].name not in _NEVER_LAST]
    if not filled:
        return sections
    index, start, end = filled[-1]
    section = sections[index]
    empty_line = _EMPTY_LINE.search(text, start, end)
    first = text[start : empty_line.start() if empty_line else end].rstrip()
    if section.name == PREAMBLE and (empty_line is None or first[-1] in ".!?"):
        return _divide(sections, index, section.start)
    return _divide(sections, index, empty_line.end()) if empty_line else sections


def _is_read(text: str, sections: list[Section]) -> bool:
    """Whether the report has findings or an impression that are not empty."""
    read = (section for section in sections if section.name in (FINDINGS, IMPRESSION))
    return any(text[section.body : section.end].strip() for section in read)


def _divide(sections: list[Section], index: int, cut: int) -> list[Section]:
    """Make what stands behind `cut` in a section the last paragraph."""
    section = sections[index]
    rest = [section._replace(end=cut)] if cut > section.start else []
    return [*sections[:index], *rest, Section(LAST_PARAGRAPH, cut, cut, section.end), *sections[index + 1 :]]
