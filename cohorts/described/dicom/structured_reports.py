"""The text of a DICOM structured report (PS3.3, A.35): its TEXT items in order, under the names of their containers.

Names of people, codes, numbers and what describes the observer or the patient are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import cast

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from cohorts.archive.outages import ABSENT, DENIED, outage
from cohorts.archive.paths import OutsideRootError, inside
from cohorts.archive.remote import open_file
from cohorts.described.dicom.header import HeaderError, read_header
from report_parsing.errors import ReportError

TAGS = [cast(int, tag_for_keyword(keyword)) for keyword in ("SpecificCharacterSet", "SOPClassUID", "ContentSequence")]
CONTEXT = ("HAS OBS CONTEXT", "HAS CONCEPT MOD", "HAS ACQ CONTEXT")  # of the observer, the patient, the device
MOST_BYTES = 4 << 20  # of a file
DEEPEST = 32  # containers in containers
MOST_CHARACTERS = 1 << 20
# Codes of PS3.16, CID 7001 and 7002, as the sections of `report_parsing` are headed.
SECTIONS = MappingProxyType(
    {
        **dict.fromkeys(("121070", "121071"), "FINDINGS"),
        **dict.fromkeys(("121072", "121073", "121076", "121077"), "IMPRESSION"),
        **dict.fromkeys(("121060", "121062"), "INDICATION"),
        **dict.fromkeys(("121064", "121065"), "TECHNIQUE"),
        **dict.fromkeys(("121066", "121067", "121068", "121069"), "COMPARISON"),
    }
)


def read_structured_report(root: Path, relative: str) -> str:
    """The text of the structured report in a file.

    ReportError says what is wrong with the file, OutageError what is wrong with the disk or the network below it.
    """
    try:
        with open_file(inside(root, relative), MOST_BYTES) as stream:
            text = write_text(read_header(stream, TAGS, MOST_BYTES))
    except OutsideRootError as error:
        raise ReportError("unreadable_report", str(error)) from None
    except HeaderError:
        raise ReportError("unreadable_report", "The structured report is damaged, or far longer than one.") from None
    except OSError as error:
        if error.errno not in ABSENT | DENIED:
            raise outage(f"{root}/{relative}", error) from error
        raise ReportError("unreadable_report", "The structured report cannot be opened or read.") from error
    if not text:
        raise ReportError("empty_report", "The structured report holds no text.")
    return text


def write_text(dataset: Dataset) -> str:
    """The TEXT items of a content tree, each under the heading of its container or, without one, under its own."""
    lines: list[str] = []
    last = ""
    try:
        for heading, text in _texts(dataset, "", DEEPEST):
            if heading and heading != last:
                lines.append(f"{heading}:")
            lines.append(text)
            last = heading or last
    except Exception:  # pydicom raises whatever the damage leads it to
        raise HeaderError from None
    return "\n".join(lines)[:MOST_CHARACTERS]


def _texts(dataset: Dataset, heading: str, depth: int) -> Iterator[tuple[str, str]]:
    for item in dataset.get("ContentSequence") or () if depth else ():
        if str(item.get("RelationshipType", "")) in CONTEXT:
            continue
        kind = str(item.get("ValueType", ""))
        named = _heading(item) if kind in ("CONTAINER", "TEXT") else ""
        if kind == "TEXT" and (text := str(item.get("TextValue") or "").strip()):
            yield heading or named, text.replace("\r\n", "\n").replace("\r", "\n")
        yield from _texts(item, (named or heading) if kind == "CONTAINER" else heading, depth - 1)


def _heading(item: Dataset) -> str:
    """The name of an item as the heading of a section, in capitals."""
    for concept in item.get("ConceptNameCodeSequence") or ():
        code = str(concept.get("CodeValue", ""))
        return SECTIONS.get(code) or " ".join(str(concept.get("CodeMeaning") or "").upper().split())
    return ""
