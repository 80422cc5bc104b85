"""RadGraph files: the automatic graphs of MIMIC-CXR and CheXpert, the gold files, and our own in the same form.

A file is one JSON object, report key -> {"text", "entities", "data_source", "data_split"}; in the gold `test.json`
the entities lie one level down, in "labeler_1" and "labeler_2". The published file of MIMIC-CXR holds 220,763 reports
in several hundred MB, some GB as Python objects, so reports are decoded one at a time from a buffer of about a MB.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

from report_parsing.errors import ReportError
from report_parsing.radgraph.graph import LABELS, RELATIONS, Entity, Graph, Relation
from store.atomic import replacing
from store.errors import UserError

Labeler = Literal["labeler_1", "labeler_2"]

_BUFFER = 1 << 20  # characters read at a time
_BLANKS = re.compile(r"[ \t\n\r]*")
_OPEN = re.compile(r"[ \t\n\r]*{")
_FIRST = re.compile(r'[ \t\n\r]*(}|(?="))')
_KEY = re.compile(r'[ \t\n\r]*("(?:[^"\\]|\\.)*")[ \t\n\r]*:[ \t\n\r]*')
_NEXT = re.compile(r"[ \t\n\r]*([,}])")
_FIELDS = itemgetter("tokens", "label", "start_ix", "end_ix", "relations")
_new = tuple.__new__  # makes a named tuple in half the time of its class, which only names the arguments
_MIMIC_KEY = re.compile(r"p(\d+)/s(\d+)(?:\.txt)?$")
_CHEXPERT_KEY = re.compile(r"patient(\d+)/study\d+")


class GraphFileError(UserError):
    """A file that is not a RadGraph file; one sentence that names it."""


class Reject(NamedTuple):
    """A report of the file that cannot be used."""

    key: str
    reason: str  # a stable code
    detail: str  # one sentence, free of report text


class Study(NamedTuple):
    """Whose report it is."""

    subject: str
    study: str


def study_of(key: str) -> Study:
    """Ids in the key of a report.

    >>> study_of("p10/p10000100/s50000700.txt")
    Study(subject='10000100', study='50000700')
    >>> study_of("patient64542/study1")
    Study(subject='64542', study='patient64542/study1')

    CheXpert counts studies within a patient, so there the study is the key itself, as for any other key.
    """
    if match := _MIMIC_KEY.search(key):
        return Study(match[1], match[2])
    match = _CHEXPERT_KEY.search(key)
    return Study(match[1], match[0]) if match else Study("", key)


def read_graphs(path: Path, rejects: list[Reject], labeler: Labeler = "labeler_1") -> Iterator[tuple[str, Graph]]:
    """The reports of a RadGraph file in its order, as (key, graph).

    Args:
        path: MIMIC-CXR_graphs.json, CheXpert_graphs.json, train.json, dev.json, test.json or a file of `write_graphs`.
        rejects: every report that is malformed is appended here instead.
        labeler: whose annotation of a report that two people annotated (test.json).

    Raises:
        GraphFileError: the file cannot be read or is not one JSON object.
    """
    seen: set[str] = set()
    for key, report in _members(path):
        try:
            if key in seen:
                raise ReportError("duplicate_key", "the file holds this report twice; the first one counts")
            seen.add(key)
            yield key, graph_of(report, labeler)
        except ReportError as error:
            rejects.append(Reject(key, error.reason, error.detail))


def graph_of(report: Any, labeler: Labeler = "labeler_1") -> Graph:
    """The graph of one decoded report; ReportError says what is wrong with it."""
    if not isinstance(report, dict):
        raise ReportError("not_an_object", "the report is not an object with text and entities")
    text = report.get("text")
    if not isinstance(text, str):
        raise ReportError("no_text", "the report has no text")
    annotation = report if "entities" in report else report.get(labeler)
    entities = annotation.get("entities") if isinstance(annotation, dict) else None
    if not isinstance(entities, dict):
        raise ReportError("no_entities", f"the report has no entities, neither its own nor those of {labeler}")
    source, split = report.get("data_source"), report.get("data_split")
    if not (isinstance(source or "", str) and isinstance(split or "", str)):
        raise ReportError("bad_source", "data_source and data_split must be text")
    return Graph(text, _entities(entities, text.count(" ") + 1), source or "", split or "")


def write_graphs(path: Path, graphs: Iterable[tuple[str, Graph]]) -> None:
    """Write (key, graph) pairs in the published form; the file appears whole or not at all.

    Keys must differ. `read_graphs` gives the same pairs back.
    """
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write("{")
        for number, (key, graph) in enumerate(graphs):
            file.write(",\n" if number else "\n")
            file.write(f"{json.dumps(key)}: {json.dumps(_report_of(graph))}")
        file.write("\n}\n")


def _report_of(graph: Graph) -> dict[str, Any]:
    return {
        "text": graph.text,
        "entities": {
            name: {
                "tokens": entity.tokens,
                "label": entity.label,
                "start_ix": entity.start,
                "end_ix": entity.end,
                "relations": entity.relations,
            }
            for name, entity in graph.entities.items()
        },
        "data_source": graph.source,
        "data_split": graph.split,
    }


def _entities(items: dict[str, Any], tokens: int) -> dict[str, Entity]:
    """Entities of a text with this number of tokens. Half of the reading time is spent here."""
    entities: dict[str, Entity] = {}
    try:
        for name, item in items.items():
            words, label, start, end, relations = _FIELDS(item)
            if type(words) is not str:
                raise ReportError("bad_tokens", "the tokens of an entity are not text")
            if label not in LABELS:
                raise ReportError("unknown_label", f"the label of an entity is none of {', '.join(sorted(LABELS))}")
            if type(start) is not int or type(end) is not int or not 0 <= start <= end < tokens:
                raise ReportError("bad_span", "start_ix and end_ix of an entity are not tokens of the text in order")
            found = _relations(relations, items) if relations else ()
            entities[name] = _new(Entity, (words, label, start, end, found))
    except (KeyError, TypeError):
        raise ReportError("bad_entity", "an entity lacks tokens, label, start_ix, end_ix or relations") from None
    return entities


def _relations(relations: Any, items: dict[str, Any]) -> tuple[Relation, ...]:
    if type(relations) is not list:
        raise ReportError("bad_relation", "the relations of an entity are not a list")
    if relations == [None]:  # the authors' code takes it for "no relation"
        return ()
    found: list[Relation] = []
    try:
        for kind, target in relations:
            if kind not in RELATIONS:
                raise ReportError("unknown_relation", f"a relation is none of {', '.join(sorted(RELATIONS))}")
            if target not in items:
                raise ReportError("missing_target", "a relation points to an entity that the report does not have")
            found.append(_new(Relation, (kind, target)))
    except (TypeError, ValueError):
        raise ReportError("bad_relation", "a relation is not a pair of its name and an entity") from None
    return tuple(found)


def _members(path: Path) -> Iterator[tuple[str, Any]]:
    """Members of the JSON object in a file; what is wrong with the file becomes one sentence."""
    done = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for member in _ObjectReader(file):
                yield member
                done += 1
    except OSError as error:
        raise GraphFileError(f"{path} cannot be read ({error.strerror}); give the path of a RadGraph file") from error
    except (ValueError, RecursionError) as error:
        raise GraphFileError(
            f"{path} is not a RadGraph file: no JSON object of reports, or broken after {done} of them; "
            "copy it again or choose another file"
        ) from error


class _ObjectReader:
    """Decodes the members of one JSON object one after the other."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text, self._at = "", 0
        self._decode = json.JSONDecoder().raw_decode

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        self._take(_OPEN)
        closing = self._take(_FIRST)[1]
        while closing != "}":
            key = self._take(_KEY)[1]
            yield json.loads(key, strict=False) if "\\" in key else key[1:-1], self._value()
            closing = self._take(_NEXT)[1]
        if _BLANKS.fullmatch(self._text, self._at) is None or self._file.read().strip():
            raise ValueError("something follows the object")

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """What stands next; read on where the buffer may end within it."""
        while True:
            match = pattern.match(self._text, self._at)
            if (match and match.end() < len(self._text)) or not self._read():
                break
        if match is None:
            raise ValueError("no JSON object")
        self._at = match.end()
        return match

    def _value(self) -> Any:
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError:
                if not self._read():  # it is broken, not cut by the end of the buffer
                    raise
                continue
            if end < len(self._text) or not self._read():  # at the end of the buffer a number may go on
                self._at = end
                return value

    def _read(self) -> bool:
        """Drop what is decoded and read on, at least as much as is left: time stays linear in a huge member."""
        more = self._file.read(max(_BUFFER, len(self._text) - self._at))
        if more:
            self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)
