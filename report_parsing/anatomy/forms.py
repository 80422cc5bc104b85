"""The words inside a form: the head of a finding's name, what modifies it, and the anatomy it names.

RadGraph marks one head word where the lexicon knows a phrase: "pleural effusion" is the finding `effusion`, located at
`pleural`. `data/modifiers.csv` holds the words that describe findings and the parts, zones and sides of structures.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from report_parsing.anatomy.positions import Words, has_structure
from report_parsing.lexicon.phrases import PhraseTree
from report_parsing.lexicon.slots import read_forms
from report_parsing.lexicon.tokens import tokenize
from report_parsing.lexicon.words import observation_forms
from report_parsing.resources import read_cell, read_rows
from report_parsing.vocabulary import DEVICE_ENTITIES

HEAD, MODIFIER = "head", "modifier"
ROOT = "root"  # the other roles of anatomy words are the classes of modifiers.csv
SIDE, ZONE, PART, MEASURE, STRUCTURE = "side", "zone", "part", "measure", "structure"
_SILENT = (
    "preposition",
    "partition",
    "determiner",
    "verb",
    "and",
    "comma",
)  # classes of grammar.csv that are no entity
_CONJUNCTION = "and"
_CHANGES = ("change", "changes")
_REMEMBERED = 5_000  # forms of the lexicon are about half of it


class Piece(NamedTuple):
    """Words `start` to `end` (exclusive) of a form, what they are in it, and the location they help to name."""

    start: int
    end: int
    role: str  # head, modifier, root, or an anatomy class of modifiers.csv
    location: Words = frozenset()
    opens: bool = False  # the first of a new conjunct: "lungs" of "heart and lungs"


class _Unit(NamedTuple):
    """A word of a form; words with a hyphen are one."""

    start: int
    end: int
    text: str


class FormReader:
    """Takes forms of observations and locations apart. Compiles the data files once; remembers what it has read."""

    def __init__(self) -> None:
        self._alone: dict[str, set[str]] = {}  # observations of the forms that are one word
        for entities, form in observation_forms():
            self._alone.setdefault(form, set()).update(entities)
        self._locations = PhraseTree()
        for row in read_rows("locations.csv"):
            for form in read_forms(row["forms"]):
                self._locations.add(tokenize(form)[0], frozenset(read_cell(row["words"], "+")))
        self._silent = {
            form: row["class"]
            for row in read_rows("grammar.csv")
            if row["class"] in _SILENT
            for form in read_cell(row["forms"])
        }
        self._anatomy: dict[str, str] = {}
        self._modifiers = PhraseTree()
        self._describing: set[str] = set()
        self._adjectives: set[str] = set()
        self._general: set[str] = set()  # words of places that are no entity: "region"
        self._whole: set[tuple[str, ...]] = set()  # names that are one entity: "heart failure"
        for row in read_rows("modifiers.csv"):
            forms = read_cell(row["forms"])
            if row["class"] == "general":
                self._general.update(forms)
            elif row["class"] == "adjective":
                self._adjectives.update(forms)
            elif row["label"] == "anatomy":
                self._anatomy.update(dict.fromkeys(forms, row["class"]))
            elif row["class"] == "phrase":
                self._whole.update(tuple(tokenize(form)[0]) for form in forms)
            else:
                for form in forms:
                    self._modifiers.add(tokenize(form)[0], row["class"])
                self._describing.update(forms)
        self.read_observation = lru_cache(maxsize=_REMEMBERED)(self._read_observation)
        self.read_location = lru_cache(maxsize=_REMEMBERED)(self._read_location)

    def modifiers(self, words: list[str]) -> Iterator[tuple[int, int, str]]:
        """(start, end, class) of the words of a sentence that describe a finding, the longest where they overlap."""
        behind = 0
        for start, end, kind in sorted(self._modifiers.find(words), key=lambda item: (item[0], -item[1])):
            if start >= behind:
                yield start, end, kind
                behind = end

    def anatomy_role(self, word: str) -> str:
        """What a word is that no location form need hold ("lateral" is a sublocation), or an empty string."""
        kind = self._anatomy.get(word, "")
        return ROOT if kind == STRUCTURE else kind

    def is_adjective(self, word: str) -> bool:
        """Whether the name of a finding is an adjective: "dense"."""
        return word in self._adjectives

    def _read_observation(
        self, words: tuple[str, ...], entities: tuple[str, ...], has_location: bool
    ) -> tuple[Piece, ...]:
        """The pieces of an observation's form; one of them is the head.

        Args:
            words: the form as the lexicon reads it.
            entities: the observations it stands for.
            has_location: whether the form states a location, so that its anatomy can be taken out of it.
        """
        units = _units(words)
        head = self._head(units, entities)
        is_tight = head is None and not has_location and not any(unit.text in self._silent for unit in units)
        if is_tight or words in self._whole:
            changes = len(units) > 1 and units[-1].text in _CHANGES  # "postoperative changes": the adjective
            return (Piece(0, units[-2].end if changes else len(words), HEAD),)
        inner = list(self._inner_anatomy(words, units, head))
        taken = {index for piece in inner for index in range(piece.start, piece.end)}
        rest = [unit for unit in units if unit.start not in taken and self._speaks(unit.text)]
        if head is None:
            if not rest:
                return (Piece(0, len(words), HEAD),)
            head = next((unit for unit in rest if unit.text in self._describing), rest[-1])
        return (Piece(head.start, head.end, HEAD), *inner, *self._modifiers_of(head, rest, entities))

    def _head(self, units: list[_Unit], entities: tuple[str, ...]) -> _Unit | None:
        """The word that alone says most of the observations; of equals the last before a preposition.

        The name of a device says more than words for its kinds: the head of "port catheter" is "catheter".
        """
        best, most = None, (False, 0)
        for unit in units:
            if best is not None and self._silent.get(unit.text) == "preposition":
                break
            count = len((self._alone.get(unit.text, set()) | {unit.text}) & set(entities))
            said = unit.text.removesuffix("s") in DEVICE_ENTITIES.intersection(entities), count
            if count and said >= most:
                best, most = unit, said
        return best

    def _modifiers_of(self, head: _Unit, rest: list[_Unit], entities: tuple[str, ...]) -> list[Piece]:
        """Words in front of the head, those that say nothing alone as one: "internal jugular" of the catheter.

        Words behind it are no entity ("changes" of "degenerative changes") unless they say one of the observations.
        """
        pieces: list[Piece] = []
        joins = -1  # where a word that says nothing alone has ended
        for unit in rest:
            is_observation = not self._alone.get(unit.text, set()).isdisjoint(entities)
            if unit == head or (unit.start > head.start and not is_observation):
                continue
            is_known = is_observation or unit.text in self._describing
            start = pieces.pop().start if joins == unit.start and not is_known else unit.start
            pieces.append(Piece(start, unit.end, MODIFIER))
            joins = -1 if is_known else unit.end
        return pieces

    def _inner_anatomy(self, words: tuple[str, ...], units: list[_Unit], head: _Unit | None) -> Iterator[Piece]:
        """The locations inside the form of an observation, and single words of the classes that names hold."""
        ends = {unit.end for unit in units if unit != head}
        found = {}  # of the locations that start at a word the longest
        for start, end, location in self._locations.find(words):
            if end in ends and has_structure(location) and not (head and start <= head.start < end):
                found[start] = end, location
        behind = 0
        for start, end, text in units:
            if start < behind or (head and start == head.start):
                continue
            if start in found:
                behind, location = found[start]
                for piece in self.read_location(words[start:behind], location):
                    yield piece._replace(start=start + piece.start, end=start + piece.end)
            elif self._anatomy.get(text) in (STRUCTURE, MEASURE):
                yield Piece(start, end, self.anatomy_role(text), frozenset({text}))

    def _read_location(self, words: tuple[str, ...], location: Words) -> tuple[Piece, ...]:
        """The pieces of a location's form: its roots, and the sides, zones and parts that modify them."""
        if any(" " in word for word in location):  # the rule list knows it as one: "cavoatrial junction"
            return (Piece(0, len(words), ROOT, location),)
        pieces: list[Piece] = []
        opens = False
        for index, word in enumerate(words):
            if word in self._general or not self._speaks(word):
                opens = opens or self._silent.get(word) == _CONJUNCTION
                continue
            role = MODIFIER if word in self._describing else self.anatomy_role(word) or ROOT
            pieces.append(Piece(index, index + 1, role, location, opens))
            opens = False
        return tuple(pieces)

    def _speaks(self, word: str) -> bool:
        """Whether a word can be an entity: no function word and no mark."""
        return word not in self._silent and any(letter.isalnum() for letter in word)


def _units(words: tuple[str, ...]) -> list[_Unit]:
    """The words of a form, with those that a hyphen joins put together: "ground-glass"."""
    units: list[_Unit] = []
    for index, word in enumerate(words):
        if units and units[-1].end == index and "-" in (word, words[index - 1]):
            start, _, text = units.pop()
            units.append(_Unit(start, index + 1, text + word))
        else:
            units.append(_Unit(index, index + 1, word))
    return units
