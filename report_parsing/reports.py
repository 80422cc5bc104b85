"""A report's sections, the text a method is pretrained on, and its sentences (the `reports` table, one row)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from report_parsing.errors import ReportError
from report_parsing.language.detection import ENGLISH, UNKNOWN, language_of
from report_parsing.language.readable import is_plain, readable, without_surrogates
from report_parsing.sections.deidentification import clean_line, clean_text, count_words, has_words
from report_parsing.sections.layout import Section, Span
from report_parsing.sections.parser import LAST_PARAGRAPH, Sectioning, Sections, bodies, tile
from report_parsing.sections.reference import HISTORY
from report_parsing.sections.sentences import split_sentences
from store.errors import SettingError

Style = Literal["sectioned", "free", "stemmed"]  # with headings; a note; a note of stems of words
Repeated = Literal["last", "all"]
COLUMNS = ("examination", "indication", "technique", "comparison", "findings", "impression", LAST_PARAGRAPH)
_SHORT_TEXT = 40  # characters
# What is read where a report has none of the wanted sections.
_INSTEAD: dict[Sectioning, tuple[str, ...]] = {
    "mended": (LAST_PARAGRAPH,),
    "reference": ("impression", "findings", LAST_PARAGRAPH, "comparison"),  # of MIMIC-CXR, one text per report
}


@dataclass(frozen=True)
class ReportOptions:
    """The parts of a report that are used: sections of the pretraining text, required sections, and the least length.

    `sections` is ("impression",) for CheXzero and GLoRIA, ("findings", "impression") for ConVIRT and ("impression",
    "findings") for MGCA. ValueError names an option that does not exist.
    """

    sections: tuple[str, ...] = ("findings", "impression")
    required: tuple[str, ...] = ("findings",)
    minimum_tokens: int = 3  # ConVIRT and MGCA drop shorter reports; list numbers and removed names do not count
    minimum_sentence_tokens: int = 1  # MGCA drops sentences of one token, also "Cardiomegaly.": 2
    sectioning: Sectioning = "mended"
    repeated: Repeated = "last"  # which occurrence of a section counts; the last, as published, or all of them

    def __post_init__(self) -> None:
        for option, names in (("sections", self.sections), ("required", self.required)):
            for name in names:
                _check_choice(option, name, COLUMNS)
        _check_choice("sectioning", self.sectioning, get_args(Sectioning))
        _check_choice("repeated", self.repeated, get_args(Repeated))


class Sentence(NamedTuple):
    """A sentence of the pretraining text: its section, its span in the report, and its words without removed names."""

    section: str
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class ParsedReport:
    """A row of the `reports` table without its identifiers; the fields are in the order of the table."""

    report: str  # as found; lone surrogates, which cannot be stored, became what is read instead of them
    examination: str | None
    indication: str | None
    technique: str | None
    comparison: str | None
    findings: str | None
    impression: str | None
    last_paragraph: str | None
    sections: list[Section]
    text: str
    sentences: list[Sentence]
    language: str  # ISO 639-1, or "und"


def parse_report(report: str, style: Style = "sectioned", options: ReportOptions | None = None) -> ParsedReport:
    """Sections, pretraining text and sentences of a report; style `free` takes the whole note as its findings.

    So does `stemmed`, whose words are stems of a language ("derram pleural"), which no parser reads: its language is
    unknown, so that no triplets are read from it.

    Raises:
        ReportError: the report is empty, unreadable, too short, or lacks a required section.
    """
    options = options or ReportOptions()
    report = without_surrogates(report)
    _check_readable(report)
    sections = _sections(report, style, options.sectioning)
    spans = _bodies_of_columns(report, sections, options)
    for name in options.required:
        if name not in spans:
            raise ReportError(f"no_{name}", f"The report has no {name} section.")
    text, sentences = _pretraining_text(report, spans, options)
    columns = {name: "\n\n".join(report[slice(*span)] for span in found) for name, found in spans.items()}
    return ParsedReport(
        report=report,
        **{name: columns.get(name) for name in COLUMNS},  # type: ignore[arg-type]
        sections=sections,
        text=text,
        sentences=sentences,
        language=UNKNOWN if style == "stemmed" else _language(text, report),
    )


def _language(text: str, report: str) -> str:
    """The language of the text that is read; of the whole report where that is short, "Pneumothorax."."""
    found = language_of(text)
    return language_of(report) if found == ENGLISH and len(text) < _SHORT_TEXT else found


def _check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingError(f"{option} has no choice {value!r}; use {', '.join(choices)}.")


def _check_readable(report: str) -> None:
    if "\x00" in report:
        raise ReportError("unreadable_report", "The report is not text: it contains zero bytes.")
    if not has_words(report) or not (report.isascii() or has_words(readable(report).text)):
        raise ReportError("empty_report", "The report has no words.")


def _sections(report: str, style: Style, sectioning: Sectioning) -> list[Section]:
    if style == "sectioned":
        return tile(report, sectioning)
    if style in get_args(Style):
        return [Section("findings", 0, 0, len(report))]
    raise ValueError(f"Report style {style!r} is not known; use {', '.join(get_args(Style))}.")


def _bodies_of_columns(report: str, sections: list[Section], options: ReportOptions) -> Sections:
    """Column -> spans of the bodies that count. The reference's `history` is in our column `indication`."""
    last = options.repeated == "last"
    if options.sectioning == "reference":
        sections = [section._replace(name="indication") if section.name == HISTORY else section for section in sections]
        found = bodies(report, sections, published=last)
    else:
        found = bodies(report, sections)
    return {name: spans[-1:] if last else spans for name, spans in found.items() if name in COLUMNS}


def _pretraining_text(report: str, spans: Sections, options: ReportOptions) -> tuple[str, list[Sentence]]:
    """The wanted sections on one line, or what is read instead of them, and their sentences."""
    names = [name for name in options.sections if name in spans]
    names = names or [name for name in _INSTEAD[options.sectioning] if name in spans][:1]
    if not names:
        raise ReportError("no_text", f"The report has none of the sections {', '.join(options.sections)}.")
    clean = clean_line if is_plain(report) else clean_text
    texts: list[str] = []
    sentences: list[Sentence] = []
    for name, span in ((wanted, span) for wanted in names for span in spans[wanted]):
        whole = split_sentences(report, *span)
        kept = whole
        if options.minimum_sentence_tokens > 1:
            kept = [found for found in whole if _has_tokens(report, [found], options.minimum_sentence_tokens)]
        texts += [clean(report[slice(*part)]) for part in (kept if len(kept) < len(whole) else [span])]
        sentences += [Sentence(name, start, end, clean(report[start:end])) for start, end in kept]
    if not _has_tokens(report, ((start, end) for _, start, end, _ in sentences), options.minimum_tokens):
        raise ReportError("too_short", f"The report's text has fewer than {options.minimum_tokens} words.")
    return " ".join(texts), sentences


def _has_tokens(report: str, sentences: Iterable[Span], minimum: int) -> bool:
    """Whether the sentences have this many tokens; every sentence has one."""
    found = 0
    for start, end in sentences:
        found += 1 if minimum - found <= 1 else count_words(report[start:end])
        if found >= minimum:
            return True
    return False
