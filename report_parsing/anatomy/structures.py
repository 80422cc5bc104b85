"""Structures of a sentence, as RadGraph relates them: runs of anatomy words, each with a root and what modifies it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from report_parsing.anatomy.forms import MEASURE, PART, ROOT, SIDE, ZONE, FormReader, Piece
from report_parsing.anatomy.positions import GENERAL, SIDES, has_structure
from report_parsing.anatomy.runs import Location
from report_parsing.lexicon.words import Reading
from report_parsing.radgraph.graph import ANATOMY, MODIFY

_WIDE = "wide"  # role of a root that narrower structures lie in: "right lower lobe pulmonary nodule"


@dataclass(eq=False)
class Node:
    """An entity of a sentence before it has an identifier."""

    start: int  # tokens of the reading
    end: int
    label: str
    relations: list[tuple[str, Node]] = field(default_factory=list)

    def relate(self, kind: str, target: Node) -> None:
        """Add a relation, once, and none to itself."""
        if target is not self and (kind, target) not in self.relations:
            self.relations.append((kind, target))


@dataclass(eq=False)
class Structure:
    """One conjunct of a run: "right lower lobe", or only "left" where "left and right hila" are named."""

    words: set[str] = field(default_factory=set)  # of the rule list in positions.csv
    parts: list[tuple[str, Node]] = field(default_factory=list)  # by role
    leans: bool = False  # its words modify another structure

    @property
    def nodes(self) -> list[Node]:
        """Its entities in order of appearance."""
        return [node for _, node in self.parts]

    @property
    def start(self) -> int:
        """The first token."""
        return self.parts[0][1].start

    @property
    def end(self) -> int:
        """The token behind the last."""
        return self.parts[-1][1].end

    @property
    def sides(self) -> set[str]:
        """The sides it names."""
        return self.words & SIDES

    @property
    def named(self) -> bool:
        """Whether a structure is named, not only a side, a zone or a measure."""
        return has_structure(frozenset(self.words)) and not self.only(MEASURE)

    @property
    def root(self) -> Node:
        """The last name of a structure, the narrow before the lung; of "left base" the base; of "left" the side."""
        for roles in ((ROOT,), (_WIDE,), (ZONE, PART, MEASURE)):
            nodes = [node for role, node in self.parts if role in roles]
            if nodes:
                return nodes[-1]
        return self.parts[-1][1]

    @property
    def anchors(self) -> list[Node]:
        """What a finding is located at: the root, or each of bare sides."""
        return self.nodes if self.only(SIDE) else [self.root]

    def only(self, role: str) -> bool:
        """Whether all its words have one role."""
        return all(other == role for other, _ in self.parts)

    def add(self, piece: Piece) -> None:
        """Take in the next word."""
        self.words |= piece.location
        role = _WIDE if piece.role == ROOT and piece.location <= GENERAL else piece.role
        self.parts.append((role, Node(piece.start, piece.end, ANATOMY)))

    def join(self) -> None:
        """Let its words modify its root; of bare sides each stands alone."""
        for anchor in self.anchors if len(self.anchors) == 1 else ():
            for node in self.nodes:
                node.relate(MODIFY, anchor)

    def lean_on(self, other: Structure) -> None:
        """Let its words modify the other's root, as "left" does in "left and right hila".

        A side that is not the other's stays with its zone: in "right upper and left lower lobes" upper is right.
        """
        zones = [node for role, node in self.parts if role == ZONE]
        apart = bool(zones and other.sides and self.sides - other.sides)
        for role, node in self.parts:
            node.relate(MODIFY, zones[-1] if apart and role == SIDE else other.root)
        if not apart:
            other.words |= self.sides
        self.leans = True


def structures_of(
    reading: Reading, pieces: Iterable[Piece], locations: Sequence[Location], forms: FormReader
) -> list[Structure]:
    """The structures of a sentence in order of appearance.

    Args:
        reading: the sentence with its clauses.
        pieces: anatomy of the locations and of the names of findings, as tokens of the reading.
        locations: where the findings are; a conjunct without a structure leans on the next one of the same location.
        forms: knows the anatomy words outside of both ("lateral").
    """
    structures: list[Structure] = []
    for run in _runs(reading, {piece.start: piece for piece in pieces}, forms):
        following: Structure | None = None
        for conjunct in reversed(run):
            if not conjunct.named and following is not None and _together(conjunct, following, locations):
                conjunct.lean_on(following)
            else:
                conjunct.join()
                following = conjunct if conjunct.named else None
        structures.extend(run)
    return structures


def _together(first: Structure, second: Structure, locations: Sequence[Location]) -> bool:
    """Whether one location holds both: not "left" and "pulmonary" of "effusion on the left and pulmonary edema"."""
    around = [location for location in locations if location.start < first.end and first.start < location.end]
    return not around or any(location.start <= first.start and second.end <= location.end for location in around)


def _runs(reading: Reading, pieces: dict[int, Piece], forms: FormReader) -> list[list[Structure]]:
    """Anatomy words that follow each other in a clause, cut into conjuncts that say a location."""
    runs: list[list[Structure]] = []
    run: list[Structure] = []
    opens = True
    for index, tag in enumerate(reading.tags):
        if index and reading.clauses[index] != reading.clauses[index - 1]:
            runs.append(run)
            run, opens = [], True
        piece = pieces.get(index) or _other_anatomy(reading, index, forms)
        if piece is not None:
            if opens or piece.opens or not run:
                run.append(Structure())
            run[-1].add(piece)
            opens = False
        elif tag in ("and", "comma") or (tag == "word" and run and run[-1].named and reading.words[index].isalpha()):
            opens = True
        elif tag not in ("word", "determiner", "location") and reading.words[index] != "of":
            runs.append(run)
            run, opens = [], True
    runs.append(run)
    return [said for run in runs if (said := [conjunct for conjunct in run if conjunct.words])]


def _other_anatomy(reading: Reading, index: int, forms: FormReader) -> Piece | None:
    """A word that says where in a structure: "lateral" of "left lateral base"."""
    role = forms.anatomy_role(reading.words[index]) if reading.tags[index] == "word" else ""
    return Piece(index, index + 1, role) if role not in ("", SIDE, ROOT) else None
