"""Triplets of (observation, position, exists) from sentences: the supervision of MedKLIP, section 1.4 of its data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import pyarrow as pa

from report_parsing.anatomy.locations import Location, find_location
from report_parsing.anatomy.positions import Words, match_position, positions_of
from report_parsing.language.detection import ENGLISH, language_of
from report_parsing.language.gloss import gloss, is_parsed
from report_parsing.lexicon.abbreviations import AbbreviationFinder
from report_parsing.lexicon.expansion import Use, find_abbreviated, write_out
from report_parsing.lexicon.lines import lines_with_origins, split_lines
from report_parsing.lexicon.words import Lexicon, Mention, Reading
from report_parsing.resources import read_cell, read_rows
from report_parsing.sections.layout import Span
from report_parsing.statements.assertion import ABSENT, assertion_of
from report_parsing.statements.clauses import split_clauses
from report_parsing.statements.ellipsis import QUANTITIES, is_one, last_finding, refers_back, unsaid
from report_parsing.tables import TRIPLETS, Triplet
from report_parsing.vocabulary import DEVICE_ENTITIES

READ_SECTIONS = ("findings", "impression", "last_paragraph")  # what is asked or was known before says nothing
_FRACTURE = ("fracture",)
_NOUN_PHRASE = ("word", "location", "determiner")
_NO_PLACE = "-"  # in the cell `structure` of an implication
_LONGEST_REFERENCE = 400  # characters of a sentence that goes on about the one before, and of that one
_LONGEST_QUANTITY = 12  # characters of a word that a fragment begins with: "moderate "
_REMEMBERED = 20_000  # sentences, and lines of wrapped ones; "No pneumothorax." is read once


class _Implication(NamedTuple):
    exists: str
    structure: Words
    implied_entity: str
    implied_exists: str
    implied_location: Words
    unless: Words
    unless_with: Words


class TripletParser:
    """Reads observations, their positions and whether they are there out of the sentences of reports.

    >>> TripletParser().parse_sentence("No left pneumothorax.")
    [Triplet(entity='pneumothorax', position='left_pleural', exists='absent', start=3, end=20)]
    """

    def __init__(self) -> None:
        self._lexicon = Lexicon()
        self._implications = _read_implications()
        self._calls_off = frozenset[str]().union(
            *(rule.unless for rules in self._implications.values() for rule in rules)
        )
        self._finder = AbbreviationFinder()
        self._parse_text = lru_cache(maxsize=_REMEMBERED)(self._parse_unseen_text)
        self._state = lru_cache(maxsize=_REMEMBERED)(self._state_unseen)
        self._parse_line = lru_cache(maxsize=_REMEMBERED)(self._parse_unseen_line)

    def parse_sentence(self, text: str) -> list[Triplet]:
        """The triplets of one sentence in order of appearance, each once; spans are characters of `text`."""
        return list(self._parse_text(text, ENGLISH))

    def parse_report(self, report: str, sentences: Iterable[Span]) -> list[list[Triplet]]:
        """The triplets of each of the sentences of a report; spans are characters of the report.

        Short forms that the report defines and the lexicon does not know are read as what they stand for. Sentences
        of a language that is not parsed have no triplets.
        """
        spans = list(sentences)
        return self._parse_spans(report, spans, language_of(" ".join(report[start:end] for start, end in spans)))

    def _parse_spans(self, report: str, sentences: list[Span], language: str) -> list[list[Triplet]]:
        if not is_parsed(language):
            return [[] for _ in sentences]
        uses: list[Use] = []
        if language == ENGLISH:
            uses = find_abbreviated(report, self._finder, self._lexicon.knows)
            uses = sorted([*uses, *self._findings_before(report, sentences)])
        return [self._parse_span(report, span, uses, language) for span in sentences]

    def parse_table(self, reports: pa.Table, progress: Callable[[int], None] | None = None) -> pa.Table:
        """The `triplets` table of a `reports` table.

        Args:
            reports: rows of REPORTS; only sentences of findings, impression or last paragraph are read, and none of
                a report in a language that is not parsed.
            progress: called with the number of reports done after each report.
        """
        rows: dict[str, list[object]] = {name: [] for name in TRIPLETS.names}
        columns = (reports.column(name).to_pylist() for name in ("study_id", "language", "report", "sentences"))
        for done, (study, language, report, sentences) in enumerate(zip(*columns, strict=True), start=1):
            read = sentences if is_parsed(language) else ()
            numbers = [index for index, sentence in enumerate(read) if sentence["section"] in READ_SECTIONS]
            spans = [(sentences[index]["start"], sentences[index]["end"]) for index in numbers]
            for number, found in zip(numbers, self._parse_spans(report, spans, language or ENGLISH), strict=True):
                for triplet in found:
                    for column, value in zip(rows.values(), (study, number, *triplet), strict=True):
                        column.append(value)
            if progress is not None:
                progress(done)
        return pa.Table.from_pydict(rows, schema=TRIPLETS)

    def _parse_span(self, report: str, span: Span, uses: Sequence[Use], language: str) -> list[Triplet]:
        start, end = span
        if not uses or not any(start <= use.start and use.end <= end for use in uses):
            found = self._parse_text(report[start:end], language)
            return [Triplet(*triplet[:3], start + triplet.start, start + triplet.end) for triplet in found]
        text, origin = write_out(report, span, uses)
        return [
            triplet._replace(start=origin[triplet.start][0], end=origin[triplet.end - 1][1])
            for triplet in self.parse_sentence(text)
        ]

    def _findings_before(self, report: str, sentences: Sequence[Span]) -> Iterator[Use]:
        """What sentences such as "Small left one." say of the finding in the sentence before."""
        for before, (start, end) in pairwise(sentences):
            if end - start > _LONGEST_REFERENCE or before[1] - before[0] > _LONGEST_REFERENCE:
                continue
            sentence = report[start:end]
            if " one" not in sentence and sentence[:_LONGEST_QUANTITY].partition(" ")[0].lower() not in QUANTITIES:
                continue
            reading = self._lexicon.read(sentence)
            token = refers_back(reading)
            asked = report[slice(*before)]
            finding = last_finding(asked, self._lexicon.read(asked)) if token is not None else ""
            if token is not None and finding:
                begin, stop = reading.spans[token]
                said = report[start + begin : start + stop]
                yield Use(start + begin, start + stop, finding if is_one(said) else f"{said} {finding}")

    def _parse_unseen_text(self, text: str, language: str) -> tuple[Triplet, ...]:
        """The triplets of a sentence of a report in this language; an English one may quote another."""
        language = language_of(text) if language == ENGLISH else language
        if language == ENGLISH:
            return self._parse_english(text)
        if not is_parsed(language):
            return ()
        english = gloss(text, language)
        found = self._parse_english(english.text)
        return tuple(Triplet(*triplet[:3], *english.span(triplet.start, triplet.end)) for triplet in found)

    def _parse_english(self, text: str) -> tuple[Triplet, ...]:
        """Line by line, as a sentence may be wrapped anywhere; the same words on other lines are known already."""
        if split_lines(text) == [text]:
            return self._parse_unseen_line(text)
        found = (
            triplet._replace(start=origin[triplet.start], end=origin[triplet.end - 1] + 1)
            for line, origin in lines_with_origins(text)
            for triplet in self._parse_line(line)
        )
        return tuple(dict.fromkeys(found))

    def _parse_unseen_line(self, line: str) -> tuple[Triplet, ...]:
        reading = self._lexicon.read(line)
        edits = unsaid(line, reading) if reading.observations else ()
        if not edits:
            return self._parse_reading(reading)
        text, origin = write_out(line, (0, len(line)), edits)
        return tuple(
            triplet._replace(start=origin[triplet.start][0], end=origin[triplet.end - 1][1])
            for triplet in self._parse_reading(self._lexicon.read(text))
        )

    def _parse_reading(self, reading: Reading) -> tuple[Triplet, ...]:
        if not reading.observations:
            return ()
        reading.clauses = split_clauses(reading)
        found: dict[tuple[str, str, str], Triplet] = {}
        called_off = self._calls_off.intersection(reading.words)
        for mention, location, exists in located_mentions(reading):
            span = _evidence(reading, mention, location)
            for statement in self._state(mention.term.entities, location.words, exists, called_off):
                if statement not in found:
                    found[statement] = Triplet(*statement, *span)
        return tuple(found.values())

    def _state_unseen(
        self, entities: tuple[str, ...], locations: tuple[Words, ...], exists: str, sentence: Words
    ) -> tuple[tuple[str, str, str], ...]:
        """(entity, position, exists) of observations at each of their locations, and what follows from them.

        Args:
            entities: the observations of a mention.
            locations: its locations, or none.
            exists: its assertion.
            sentence: the words of the sentence that call an implication off.
        """
        said: list[tuple[str, str, str]] = []
        for entity in entities:
            for words in locations or (frozenset(),):
                positions = positions_of(words)
                said += [(entity, position, exists) for position in positions]
                for rule in self._implications.get(entity, ()):
                    if exists == rule.exists and _applies(rule, words, entities, sentence):
                        implied = (match_position(rule.implied_location),) if rule.implied_location else positions
                        said += [(rule.implied_entity, position, rule.implied_exists) for position in implied]
        return tuple(said)


def located_mentions(reading: Reading) -> Iterable[tuple[Mention, Location, str]]:
    """Every mention with its location and its assertion; states that only describe a finding are left out."""
    previous: tuple[Mention, Location] | None = None
    for mention in reading.observations:
        if _is_broken_device(reading, mention):
            continue
        exists = assertion_of(reading, mention)
        location = find_location(reading, mention, None if exists == ABSENT else previous)
        if location is None:
            continue
        previous = mention, location
        yield mention, location, exists


def _is_broken_device(reading: Reading, mention: Mention) -> bool:
    """Whether a fracture is that of a device: "sternotomy wire fracture", "fracture of the upper sternal wire"."""
    if mention.term.entities != _FRACTURE:
        return False
    before = next((item for item in reading.observations if item.end == mention.start), None)
    end = mention.end
    while end < len(reading.tags) and (reading.tags[end] in _NOUN_PHRASE or reading.words[end] == "of"):
        end += 1
    behind = next((item for item in reading.observations if item.start == end), None)
    return any(item is not None and not DEVICE_ENTITIES.isdisjoint(item.term.entities) for item in (before, behind))


def _evidence(reading: Reading, mention: Mention, location: Location) -> tuple[int, int]:
    """Characters from the first to the last token of the mention and its location."""
    start, end = mention.start, mention.end
    if location.end > location.start:
        start, end = min(start, location.start), max(end, location.end)
    return reading.spans[start][0], reading.spans[end - 1][1]


def _applies(rule: _Implication, words: Words, entities: tuple[str, ...], sentence: Words) -> bool:
    """Whether observations at a place of these words say what the rule implies."""
    if rule.structure and not words & rule.structure and not (_NO_PLACE in rule.structure and not words):
        return False
    return not rule.unless & sentence and not rule.unless & words and rule.unless_with.isdisjoint(entities)


def _read_implications() -> dict[str, list[_Implication]]:
    rules: dict[str, list[_Implication]] = {}
    for row in read_rows("implications.csv"):
        rules.setdefault(row["entity"], []).append(
            _Implication(
                row["exists"],
                frozenset(read_cell(row["structure"])),
                row["implied_entity"],
                row["implied_exists"],
                frozenset(read_cell(row["implied_place"])),
                frozenset(read_cell(row["unless"])),
                frozenset(read_cell(row["unless_with"])),
            )
        )
    return rules
