"""Entities and relations of a sentence, from the observations, assertions and locations behind its triplets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from itertools import pairwise

from report_parsing.anatomy.forms import HEAD, MEASURE, MODIFIER, SIDE, FormReader, Piece
from report_parsing.anatomy.positions import SIDES, Words
from report_parsing.anatomy.runs import Location
from report_parsing.anatomy.structures import Node, Structure, structures_of
from report_parsing.lexicon.words import Reading
from report_parsing.radgraph import graph
from report_parsing.statements.assertion import ABSENT, UNCERTAIN, assertion_of
from report_parsing.statements.description import STABLE, Finding, attach_attributes, descriptions, is_attribute
from report_parsing.statements.triplets import located_mentions

_LABELS = {ABSENT: graph.ABSENT, UNCERTAIN: graph.UNCERTAIN}
_SEPARATORS = ("and", "comma")
_ALTERNATIVES = ("or", "versus", "vs", "vs.", "/")
_COMPANY = ("with", "without")  # "effusion with probable atelectasis" are two findings
_ONE_NAME = 4  # tokens from "heart" to "lungs" where one name holds both
_PASSED = ("word", "determiner", "location")  # between a modifier and its finding: "small left effusion"


def sentence_nodes(reading: Reading, forms: FormReader) -> list[Node]:
    """The entities of a sentence with its clauses, in order of appearance, with their relations."""
    findings = _findings(reading, forms)
    located = [finding for finding in findings if finding.location is not None]
    locations = [finding.location for finding in located if finding.location is not None]
    structures = structures_of(reading, _anatomy(reading, findings, forms), locations, forms)
    suggested = list(_interpretations(reading, located))
    _locate(located, structures, {id(target) for _, target in suggested})
    _attach_sides(reading, located, structures)
    for source, target in suggested:
        source.relate(graph.SUGGESTIVE_OF, target)
    kept = located + attach_attributes(reading, findings)
    nodes = [finding.head for finding in kept]
    nodes += [node for structure in structures for node in structure.nodes]
    nodes += _parts_of_names(kept)
    nodes += descriptions(reading, findings, structures, nodes, forms)
    return sorted(nodes, key=lambda node: (node.start, node.end))


def _findings(reading: Reading, forms: FormReader) -> list[Finding]:
    said = {id(mention): (location, exists) for mention, location, exists in located_mentions(reading)}
    findings: dict[int, Finding] = {}
    for mention in reading.observations:
        location, exists = said.get(id(mention)) or (None, assertion_of(reading, mention))
        is_nowhere = mention.term.entities == STABLE and location is not None and not location.words
        if is_nowhere or is_attribute(reading, mention, forms):
            location = None
        words = tuple(reading.words[mention.start : mention.end])
        pieces = [
            piece._replace(start=mention.start + piece.start, end=mention.start + piece.end)
            for piece in forms.read_observation(words, mention.term.entities, bool(mention.term.location))
        ]
        head = next(piece for piece in pieces if piece.role == HEAD)
        node = Node(head.start, head.end, _LABELS.get(exists, graph.PRESENT))
        findings.setdefault(mention.start, Finding(mention, location, node, pieces))
    return list(findings.values())


def _anatomy(reading: Reading, findings: Sequence[Finding], forms: FormReader) -> Iterator[Piece]:
    """The anatomy words of the locations and of the names of findings."""
    for start, mention in reading.locations.items():
        if start == mention.start:
            for piece in forms.read_location(tuple(reading.words[start : mention.end]), mention.term):
                if piece.role != MODIFIER:
                    yield piece._replace(start=start + piece.start, end=start + piece.end)
    for finding in findings:
        yield from (piece for piece in finding.pieces if piece.role not in (HEAD, MODIFIER))


def _parts_of_names(findings: Sequence[Finding]) -> Iterator[Node]:
    """The words in the name of a finding that modify its head: "nasogastric" of "nasogastric tube"."""
    for finding in findings:
        for piece in finding.pieces:
            if piece.role == MODIFIER:
                node = Node(piece.start, piece.end, finding.head.label)
                node.relate(graph.MODIFY, finding.head)
                yield node


def _locate(findings: Sequence[Finding], structures: Sequence[Structure], suggested: Set[int]) -> None:
    """Relate every finding to the roots of its locations, and let the sides of the location modify them.

    What a finding suggests is only where its own words say: in "lobar opacity, likely edema" the opacity is lobar.
    """
    before: list[Structure] = []  # where the finding before is
    for mention, location, head, _ in findings:
        assert location is not None
        found = [item for item in structures if item.start < mention.end and mention.start < item.end]
        inside = [
            item for item in structures if item.start < location.end and location.start < item.end and not item.leans
        ]
        inside += [item for item in found if item not in inside]
        is_passed_on = (location.start, location.end) == (mention.start, mention.end)  # or stated by the finding
        if is_passed_on and id(head) not in suggested:
            inside += [item for item in before if item not in inside]
        for words in location.words:
            matches = _best(words, inside)
            found += matches
            for match in matches:
                found += _compose(words, match, inside, location)
        if not found:
            found = [item for item in inside if not item.named and any(item.words & words for words in location.words)]
        for structure in found:
            _location_at(head, structure)
        before = found or before


def _location_at(head: Node, structure: Structure) -> None:
    for node in () if structure.leans else structure.anchors:
        head.relate(graph.LOCATED_AT, node)


def _attach_sides(reading: Reading, findings: Sequence[Finding], structures: Sequence[Structure]) -> None:
    """Bare sides that no location holds: "hilum on the left", "bilateral effusions, left greater than right"."""
    locations = {id(target) for finding in findings for _, target in finding.head.relations}
    for structure, item in pairwise(structures):
        if item.named or item.leans or id(item.root) in locations:
            continue
        between = reading.tags[structure.end : item.start]
        if structure.named and not structure.sides and {*between} <= {"preposition", "determiner"}:
            item.lean_on(structure)
        elif "bilateral" in item.words:
            _compare(reading, item, findings, structures)


def _compare(reading: Reading, item: Structure, findings: Sequence[Finding], structures: Sequence[Structure]) -> None:
    """Let the sides of a comparison modify the location of the finding in front, or be its location."""
    before = [finding for finding in findings if finding.mention.end <= item.start]
    if before and reading.clauses[before[-1].mention.start] == reading.clauses[item.start]:
        found = [other for other in structures if (graph.LOCATED_AT, other.root) in before[-1].head.relations]
        if found and found[0].named:
            item.lean_on(found[0])
        else:
            _location_at(before[-1].head, item)


def _best(words: Words, structures: Sequence[Structure]) -> list[Structure]:
    """The structures that say most of a location; equals are the conjuncts of one name ("heart and lungs")."""
    scores = [
        len(item.words & words) if item.named and item.words & words - SIDES and not _contradicts(item, words) else 0
        for item in structures
    ]
    best = max(scores, default=0)
    matches = [item for item, score in zip(structures, scores, strict=True) if score == best and best]
    return [item for item in matches if item.words == matches[0].words and item.start - matches[0].start < _ONE_NAME]


def _contradicts(structure: Structure, words: Words) -> bool:
    sides = structure.words & SIDES
    return bool(sides and words & SIDES and not sides & words)


def _compose(
    words: Words, structure: Structure, structures: Sequence[Structure], location: Location
) -> list[Structure]:
    """Attach what stands apart from the root of a location: sides, zones, parts ("the heart is normal in size").

    Returns:
        Structures that lend their side and hold the finding too: the apex of "pleural thickening in the left apex".
    """
    lenders = []
    for other in structures:
        if not other.named:
            if not other.leans and (other.words <= words or (other.only(MEASURE) and structure.end < other.start)):
                other.lean_on(structure)
        elif other.sides and not structure.sides and other.sides <= words:
            for role, node in other.parts:
                if role == SIDE:
                    node.relate(graph.MODIFY, structure.root)
            if other.start < location.end and location.start < other.end:
                lenders.append(other)
    return lenders


def _interpretations(reading: Reading, findings: Sequence[Finding]) -> Iterator[tuple[Node, Node]]:
    """(finding, what it suggests), alternatives included: "opacity, likely atelectasis or edema"."""
    sources: list[Node] = []
    chain = [finding.head for finding in findings[:1]]  # the last finding and those it is listed with
    for previous, finding in pairwise(findings):
        between = range(previous.mention.end, finding.mention.start)
        if _is_interpreted(reading, between):
            sources, chain = chain, []
        elif not _is_listed(reading, between):
            sources, chain = [], []
        chain.append(finding.head)
        for source in sources if finding.mention.term.role == "finding" else ():
            yield source, finding.head


def _is_interpreted(reading: Reading, between: range) -> bool:
    """Whether a word such as "represents" leads from one finding to the next, in its clause or from its "which"."""
    versus = {token for cue in reading.cues if cue.term.side == "between" for token in range(cue.start, cue.end)}
    clause = reading.clauses[between.start - 1]
    for token in between:
        tag = reading.tags[token]
        if reading.words[token] == "which":
            clause = reading.clauses[token]
        elif (
            reading.clauses[token] != clause
            or reading.words[token] in _COMPANY
            or (tag == "and" and reading.tags[token + 1] != "location")  # "right and left"
        ):
            return False
        elif token in reading.links and tag != "and" and token not in versus:
            return True
    return False


def _is_listed(reading: Reading, between: range) -> bool:
    """Whether two findings are one list: joined by "or" or "versus", or with nothing but separators between them."""
    if reading.clauses[between.start - 1] != reading.clauses[between.stop]:
        return False
    tags = [reading.tags[token] for token in between]
    words = [reading.words[token] for token in between]
    alternative = any(word in _ALTERNATIVES for word in words)
    allowed = (*_SEPARATORS, *_PASSED) if alternative else _SEPARATORS
    return all(tag in allowed or word in _ALTERNATIVES for tag, word in zip(tags, words, strict=True))
