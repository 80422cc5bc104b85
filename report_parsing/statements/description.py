"""Words that describe findings, as entities of RadGraph that modify them: "small" of "small effusion"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from report_parsing.anatomy.forms import FormReader, Piece
from report_parsing.anatomy.runs import Location
from report_parsing.anatomy.structures import Node, Structure
from report_parsing.lexicon.words import Mention, Reading
from report_parsing.radgraph import graph
from report_parsing.vocabulary import DEVICE_ENTITIES

_SMALL_WORDS = ("word", "determiner")
_PASSED = (*_SMALL_WORDS, "location")  # between a modifier and its finding: "small left effusion"
STABLE = ("stable",)  # is said of findings where no place is named: "stable appearance of the nodule"
_TIP = ("tip",)  # of a catheter, which it does not describe
_SEPARATORS = ("and", "comma")
_IN_PHRASE = (*_PASSED, *_SEPARATORS)
_OF_STRUCTURES = ("size", "change", "extent", "shape")  # classes of words that describe structures too
_SINGULAR = frozenset({"is", "was", "has", "appears", "remains", "seems", "looks"})


class Finding(NamedTuple):
    """An observation as an entity, where it is, and the pieces of its name, as tokens of the sentence."""

    mention: Mention
    location: Location | None  # None for what only describes a finding: a state, or "dense" of "dense consolidation"
    head: Node
    pieces: list[Piece]


def is_attribute(reading: Reading, mention: Mention, forms: FormReader) -> bool:
    """Whether the name of a finding describes the next one: "dense" of "dense mass", "lead" of "lead pacemaker"."""
    if mention.term.role != "finding":
        return False
    token = mention.end
    if _is_device(mention):
        behind = next((item for item in reading.observations if item.start == token), None)
        return behind is not None and behind.term.entities != _TIP and _is_device(behind)
    if not forms.is_adjective(reading.words[token - 1]):
        return False
    while token < len(reading.tags) and reading.tags[token] in _PASSED:
        token += 1
    return token < len(reading.tags) and reading.tags[token] == "finding"


def _is_device(mention: Mention) -> bool:
    return not DEVICE_ENTITIES.isdisjoint(mention.term.entities)


def attach_attributes(reading: Reading, findings: Sequence[Finding]) -> list[Finding]:
    """What only describes a finding ("stable effusion") as its modifier; what describes nothing named is left out."""
    heads = _by_token(findings)
    attached = []
    for finding in findings:
        if finding.location is None:
            described = _find_described(reading, finding.mention.start, finding.mention.end, "", heads)
            for node in described:
                finding.head.relate(graph.MODIFY, node)
            is_alone = len(findings) == 1 and not reading.locations  # "Unchanged."
            if described or is_alone or finding.mention.term.entities == STABLE:
                attached.append(finding)
    return attached


def descriptions(
    reading: Reading,
    findings: Sequence[Finding],
    structures: Sequence[Structure],
    nodes: Sequence[Node],
    forms: FormReader,
) -> Iterator[Node]:
    """The words that describe a finding, as entities that modify it; adverbs modify the next of them: "very dense".

    Those of a structure are located there: "flattened diaphragms".
    """
    heads = _by_token(findings)
    taken = {token for node in nodes for token in range(node.start, node.end)} | heads.keys()
    taken.update(token for cue in reading.cues for token in range(cue.start, cue.end))
    describing = {node.start: node for node in nodes if any(kind == graph.MODIFY for kind, _ in node.relations)}
    for start, end, kind in reversed(list(forms.modifiers(reading.words))) if heads or structures else ():
        if not taken.isdisjoint(range(start, end)):
            continue
        structure = _described_structure(reading, start, end, structures, heads) if kind in _OF_STRUCTURES else None
        if structure is not None:
            describing[start] = Node(start, end, graph.PRESENT, [(graph.LOCATED_AT, structure.root)])
            yield describing[start]
            continue
        described = _find_described(reading, start, end, kind, heads)
        following = describing.get(end)
        is_adverb = kind == "degree" or reading.words[end - 1].endswith("ly")
        of_name = (
            end in heads and heads[end].location is None and _is_device(heads[end].mention)
        )  # "dual lead pacemaker"
        if following is not None and (is_adverb or of_name or not described):
            described = [following]
        if not described:
            continue
        describing[start] = Node(start, end, described[0].label, [(graph.MODIFY, node) for node in described])
        yield describing[start]


def _described_structure(
    reading: Reading, start: int, end: int, structures: Sequence[Structure], heads: dict[int, Finding]
) -> Structure | None:
    """The structure that a word is an attribute or the predicate of: "flattened diaphragms", "diaphragms are flat"."""
    behind = end
    while behind < len(reading.tags) and (reading.tags[behind] in _SMALL_WORDS or reading.words[behind] == "of"):
        behind += 1
    structure = next((item for item in structures if end <= item.start <= behind < item.end), None)
    if structure is None:
        return None if behind in heads else _subject(reading, start, structures, heads)
    token = structure.end
    while token - 1 not in reading.nouns and token < len(reading.tags) and reading.tags[token] in _IN_PHRASE:
        token += 1
    return structure if structure.named and not structure.leans and token not in heads else None


def _subject(
    reading: Reading, start: int, structures: Sequence[Structure], heads: dict[int, Finding]
) -> Structure | None:
    """The structure that a predicate is said of, and not the place of a finding: "opacities in both lungs are new"."""
    verb_end = start
    while verb_end and reading.words[verb_end - 1].endswith("ly"):
        verb_end -= 1
    end = verb_end
    while end and reading.tags[end - 1] == "verb":
        end -= 1
    if end == verb_end or any(reading.clauses[token] == reading.clauses[end] for token in heads if token < end):
        return None
    return next((item for item in structures if item.named and item.end == end), None)


def _by_token(findings: Sequence[Finding]) -> dict[int, Finding]:
    return {token: item for item in findings for token in range(item.mention.start, item.mention.end)}


def _find_described(reading: Reading, start: int, end: int, kind: str, heads: dict[int, Finding]) -> list[Node]:
    """The finding of the noun phrase, or the ones in front that the words are said of."""
    following = _following(reading, end, kind, heads, joins=False)
    if following is None and start and reading.tags[start - 1] == "verb":
        preceding = _preceding(reading, start, heads)
        if preceding is not None:
            return [preceding, *_listed_with(reading, preceding, start, heads)]
    following = following or _following(reading, end, kind, heads, joins=True)
    if following is None and reading.tags[start] != "preposition":  # "nodule overlying the rib"
        following = _preceding(reading, start, heads)
    return [] if following is None else [following]


def _following(reading: Reading, index: int, kind: str, heads: dict[int, Finding], *, joins: bool) -> Node | None:
    """The next finding of the noun phrase; with `joins` also behind "and": "small and moderate effusions"."""
    clause = reading.clauses[index - 1]
    opened = False
    while index < len(reading.words) and reading.clauses[index] == clause:
        tag = reading.tags[index]
        finding = heads.get(index)
        if finding is not None and finding.location is not None:
            return None if opened else finding.head
        if tag in _SEPARATORS and joins:
            opened = True
        elif finding is not None or tag in _PASSED:
            opened = False
        elif reading.words[index] != "of" and not (kind == "change" and reading.words[index] == "in"):
            return None
        index += 1
    return None


def _preceding(reading: Reading, start: int, heads: dict[int, Finding]) -> Node | None:
    """The nearest finding in front, in the clause or before its "which"."""
    clause = reading.clauses[start]
    for index in range(start - 1, -1, -1):
        if reading.clauses[index] != clause:
            if reading.words[index + 1] != "which":
                return None
            clause = reading.clauses[index]
        finding = heads.get(index)
        if finding is not None and finding.location is not None and finding.mention.term.role == "finding":
            return finding.head
    return None


def _listed_with(reading: Reading, last: Node, verb: int, heads: dict[int, Finding]) -> Iterator[Node]:
    """The other subjects of a verb in the plural: "tubes" of "tubes and lines are unchanged"."""
    if reading.words[verb - 1] in _SINGULAR:
        return
    index, joined = last.start - 1, False
    while index >= 0 and reading.clauses[index] == reading.clauses[last.start]:
        finding = heads.get(index)
        if finding is not None and finding.location is not None:
            if not joined or finding.mention.term.role != "finding":
                return
            yield finding.head
            joined = False
        elif reading.tags[index] in _SEPARATORS:
            joined = True
        elif reading.tags[index] not in _PASSED and finding is None:
            return
        index -= 1
