"""A report as a RadGraph graph, from our own parse: what is located where, what modifies what, what suggests what.

The form is that of the published files (Jain et al. 2021, "RadGraph: Extracting Clinical Entities and Relations from
Radiology Reports"): one entity per head word, tokens separated by blanks, marks as tokens of their own.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from report_parsing.anatomy.forms import FormReader
from report_parsing.lexicon.lines import split_lines
from report_parsing.lexicon.tokens import find_in_order
from report_parsing.lexicon.words import Lexicon
from report_parsing.radgraph.graph import MODIFY, PRESENT, UNCERTAIN, Entity, Graph, Relation
from report_parsing.sections.layout import Span
from report_parsing.sections.sentences import split_sentences
from report_parsing.statements.clauses import split_clauses
from report_parsing.statements.reference import add_reference
from report_parsing.statements.sentence_graph import sentence_nodes

_SUBJECT = -1  # in the relations of a line: the finding of a line before
_REMEMBERED = 20_000  # sentences; "No pneumothorax." is read once
# what has no full stop for 1,200 characters is read in pieces, so that time grows with length only
_TOKEN = re.compile(r"\w+(?:[-'’]\w+)*|[^\w\s]")


@dataclass(frozen=True)
class ParsedGraph:
    """A graph and the characters of the report that each of its entities was read from."""

    graph: Graph
    spans: dict[str, Span]  # by entity id


class _LineEntity(NamedTuple):
    """An entity of a line: its tokens there, and its relations to other entities of the line by their order."""

    start: int
    end: int
    label: str
    relations: tuple[tuple[str, int], ...]


class _Line(NamedTuple):
    """A sentence with single blanks, read: its tokens and the entities over them."""

    tokens: tuple[str, ...]
    entities: tuple[_LineEntity, ...]
    subject: tuple[tuple[str, int], ...] = ()  # relations of a finding before that the sentence goes on about, "it"


class GraphParser:
    """Reads reports into RadGraph's form.

    >>> graph = GraphParser().parse_report("Small left effusion.")
    >>> [(entity.tokens, entity.label) for entity in graph.entities.values()]
    [('Small', 'OBS-DP'), ('left', 'ANAT-DP'), ('effusion', 'OBS-DP')]
    """

    def __init__(self, lexicon: Lexicon | None = None) -> None:
        """`lexicon` is one that is already compiled; by default a new one."""
        self._lexicon = lexicon or Lexicon()
        self._forms = FormReader()
        self._parse_line = lru_cache(maxsize=_REMEMBERED)(self._parse_unseen_line)

    def parse_report(self, text: str, sentences: Sequence[Span] | None = None) -> Graph:
        """The graph of a report; see `parse_with_spans`."""
        return self.parse_with_spans(text, sentences).graph

    def parse_with_spans(self, text: str, sentences: Sequence[Span] | None = None) -> ParsedGraph:
        """The graph of a report, and where in the report its entities stand.

        Args:
            text: the report. All of it becomes tokens of the graph.
            sentences: the spans that are read for entities, in any order; by default every sentence of the text.

        Raises:
            ValueError: when sentences overlap or reach beyond the text.
        """
        tokens: list[str] = []
        entities: dict[str, Entity] = {}
        subject = ""  # the finding that "it" stands for
        for start, end, is_sentence in _pieces(text, sentences):
            for line in split_lines(text[start:end]) if is_sentence else ():
                read = self._parse_line(line)
                subject = _add_entities(entities, read, len(tokens), subject) or subject
                tokens.extend(read.tokens)
            if not is_sentence:
                tokens.extend(_TOKEN.findall(text, start, end))
        spans = find_in_order(text, tokens)
        graph = Graph(" ".join(tokens), entities)
        return ParsedGraph(graph, {key: (spans[item.start][0], spans[item.end][1]) for key, item in entities.items()})

    def _parse_unseen_line(self, line: str) -> _Line:
        reading = self._lexicon.read(line)
        refers = add_reference(reading)
        reading.clauses = split_clauses(reading)
        nodes = sentence_nodes(reading, self._forms)
        pronoun = nodes.pop(0) if refers else None
        spans = [(reading.spans[node.start][0], reading.spans[node.end - 1][1]) for node in nodes]
        tokens = list(_cut_tokens(line, spans))
        starts = [start for start, _ in tokens]
        order = {id(pronoun): _SUBJECT, **{id(node): index for index, node in enumerate(nodes)}}
        entities = tuple(
            _LineEntity(
                bisect_right(starts, start) - 1,
                bisect_left(starts, end) - 1,
                node.label,
                tuple((kind, order[id(target)]) for kind, target in node.relations),
            )
            for node, (start, end) in zip(nodes, spans, strict=True)
        )
        subject = tuple((kind, order[id(target)]) for kind, target in pronoun.relations) if pronoun else ()
        return _Line(tuple(line[start:end] for start, end in tokens), entities, subject)


def _pieces(text: str, sentences: Sequence[Span] | None) -> Iterator[tuple[int, int, bool]]:
    """(start, end, whether it is a sentence) of the sentences and of what lies between them."""
    behind = 0
    for start, end in sorted(split_sentences(text, 0, len(text)) if sentences is None else sentences):
        if not behind <= start <= end <= len(text):
            raise ValueError(
                f"sentence {start}-{end} overlaps the one before or lies outside the report of {len(text)} characters: "
                "give spans of this report that do not overlap"
            )
        yield behind, start, False
        yield start, end, True
        behind = end
    yield behind, len(text), False


def _cut_tokens(line: str, spans: Sequence[Span]) -> Iterator[Span]:
    """Tokens as characters of the line; one that two entities share is cut between them: "fracture-dislocation"."""
    tokens = [match.span() for match in _TOKEN.finditer(line)]
    starts = [start for start, _ in tokens]
    shared = [
        (first[1], second[0])
        for first, second in pairwise(spans)
        if bisect_left(starts, first[1]) == bisect_right(starts, second[0])
    ]
    cuts = [cut for pair in shared for cut in pair]
    for start, end in tokens:
        inner = sorted({*cuts[bisect_right(cuts, start) : bisect_left(cuts, end)]})
        yield from pairwise((start, *inner, end))


def _add_entities(entities: dict[str, Entity], line: _Line, first_token: int, subject: str) -> str:
    """Number the entities of a line behind those there are; the first finding that is affirmed or doubted, if any.

    Args:
        entities: what the lines before said; the relations of "it" are added to its subject.
        line: the entities to add.
        first_token: of the line.
        subject: the entity that "it" stands for, or an empty string.
    """
    before = len(entities) + 1
    if subject and line.subject:
        entity = entities[subject]
        more = (Relation(kind, str(before + target)) for kind, target in line.subject)
        entities[subject] = entity._replace(relations=(*entity.relations, *more))
    first = ""
    for item in line.entities:
        tokens = " ".join(line.tokens[item.start : item.end + 1])
        relations = tuple(
            Relation(kind, subject if target == _SUBJECT else str(before + target))
            for kind, target in item.relations
            if subject or target != _SUBJECT
        )
        key = str(len(entities) + 1)
        entities[key] = Entity(tokens, item.label, first_token + item.start, first_token + item.end, relations)
        if not first and item.label in (PRESENT, UNCERTAIN) and all(kind != MODIFY for kind, _ in relations):
            first = key
    return "" if line.subject else first
