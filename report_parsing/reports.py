"""A report's sections, the text a method is pretrained on, and its sentences (the `reports` table, one row)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from report_parsing.errors import ReportError
from report_parsing.sections import LAST_PARAGRAPH, Sections, split_sections, trim
from report_parsing.sentences import split_sentences

Style = Literal["sectioned", "free"]
_COLUMNS = ("examination", "indication", "technique", "comparison", "findings", "impression", LAST_PARAGRAPH)

_DEIDENTIFIED = re.compile(r"_{2,}|X{4,}|\ufffd")  # MIMIC-CXR, Open-i, bytes that were lost
_BEFORE_PUNCTUATION = re.compile(r" (?=[,.;:)])")
_TOKEN = re.compile(r"\w+")


@dataclass(frozen=True)
class ReportOptions:
    """What of a report is used: the sections of the pretraining text, those it must have, and its least length."""

    sections: tuple[str, ...] = ("findings", "impression")
    required: tuple[str, ...] = ("findings",)
    minimum_tokens: int = 3  # MGCA and ConVIRT drop shorter reports


@dataclass(frozen=True)
class Sentence:
    """A sentence of the pretraining text: its section and its span in the report."""

    section: str
    start: int
    end: int


@dataclass(frozen=True)
class ParsedReport:
    """A row of the `reports` table without its identifiers; the fields are in the order of the table."""

    report: str
    examination: str | None
    indication: str | None
    technique: str | None
    comparison: str | None
    findings: str | None
    impression: str | None
    last_paragraph: str | None
    text: str
    sentences: list[Sentence]


def parse_report(report: str, style: Style = "sectioned", options: ReportOptions | None = None) -> ParsedReport:
    """Sections, pretraining text and sentences of a report; style `free` takes the whole note as its findings.

    Where a section occurs more than once its last occurrence counts, as in the published sectioning of MIMIC-CXR.

    Raises:
        ReportError: the report is empty, unreadable, too short, or lacks a required section.
    """
    options = options or ReportOptions()
    _check_readable(report)
    sections = _sections(report, style)
    last = {name: spans[-1] for name, spans in sections.items() if name in _COLUMNS}
    for name in options.required:
        if name not in last:
            reason = "no_findings" if name == "findings" else f"no_{name}"
            raise ReportError(reason, f"The report has no {name} section.")
    names = [name for name in options.sections if name in last] or [n for n in (LAST_PARAGRAPH,) if n in last]
    text = " ".join(clean_text(report[slice(*last[name])]) for name in names)
    if len(_TOKEN.findall(text)) < options.minimum_tokens:
        raise ReportError("too_short", f"The report's text has fewer than {options.minimum_tokens} words.")
    sentences = [Sentence(name, *span) for name in names for span in split_sentences(report, *last[name])]
    columns = {name: report[slice(*last[name])] if name in last else None for name in _COLUMNS}
    return ParsedReport(report=report, **columns, text=text, sentences=sentences)  # type: ignore[arg-type]


def clean_text(text: str) -> str:
    """The text on one line, without the place-holders of removed identifiers."""
    return _BEFORE_PUNCTUATION.sub("", " ".join(_DEIDENTIFIED.sub(" ", text).split()))


def _check_readable(report: str) -> None:
    if "\x00" in report:
        raise ReportError("unreadable_report", "The report is not text: it contains zero bytes.")
    if not _TOKEN.search(_DEIDENTIFIED.sub(" ", report)):
        raise ReportError("empty_report", "The report has no words.")


def _sections(report: str, style: Style) -> Sections:
    if style == "sectioned":
        return split_sections(report)
    if style == "free":
        return {"findings": [trim(report, 0, len(report))]}
    raise ValueError(f"Report style {style!r} is not known; use 'sectioned' or 'free'.")
