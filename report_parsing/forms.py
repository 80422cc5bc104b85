"""The words inside a form: the head of a finding's name, what modifies it, and the anatomy it names.

RadGraph marks one head word where the lexicon knows a phrase: "pleural effusion" is the finding `effusion`, located at
`pleural`. `data/modifiers.csv` holds the words that describe findings and the parts, zones and sides of structures.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from report_parsing.lexicon import observation_forms
from report_parsing.phrases import PhraseTree
from report_parsing.positions import Words, has_structure
from report_parsing.resources import read_cell, read_rows
from report_parsing.tokens import tokenize

HEAD, MODIFIER = "head", "modifier"
ROOT, SIDE, ZONE, PART = "root", "side", "zone", "part"  # roles of anatomy words, and other classes of modifiers.csv
STRUCTURE, MEASURE = "structure", "measure"
_ROLES = {STRUCTURE: ROOT, MEASURE: PART}  # of the classes that are no role
_SILENT = (
    "preposition",
    "partition",
    "determiner",
    "verb",
    "and",
    "comma",
)  # classes of grammar.csv that are no entity
_CONJUNCTION = "and"
_REMEMBERED = 5_000  # forms of the lexicon are about half of it


class Piece(NamedTuple):
    """Words `start` to `end` (exclusive) of a form, what they are in it, and the place they help to name."""

    start: int
    end: int
    role: str  # head, modifier, root, or an anatomy class of modifiers.csv
    place: Words = frozenset()
    opens: bool = False  # the first of a new conjunct: "lungs" of "heart and lungs"


class FormReader:
    """Takes forms of observations and places apart. Compiles the data files once; remembers what it has read."""

    def __init__(self) -> None:
        self._alone: dict[str, set[str]] = {}  # observations of the forms that are one word
        for entities, form in observation_forms():
            self._alone.setdefault(form, set()).update(entities)
        self._places = PhraseTree()
        for row in read_rows("locations.csv"):
            for form in read_cell(row["forms"]):
                self._places.add(tokenize(form)[0], frozenset(read_cell(row["words"], "+")))
        self._anatomy: dict[str, str] = {}
        self._modifiers = PhraseTree()
        self._describing: set[str] = set()
        self._whole: set[tuple[str, ...]] = set()  # names that are one entity: "heart failure"
        for row in read_rows("modifiers.csv"):
            forms = read_cell(row["forms"])
            if row["label"] == "anatomy":
                self._anatomy.update(dict.fromkeys(forms, row["class"]))
            elif row["class"] == "phrase":
                self._whole.update(tuple(tokenize(form)[0]) for form in forms)
            else:
                for form in forms:
                    self._modifiers.add(tokenize(form)[0], row["class"])
                self._describing.update(forms)
        self._silent = {
            form: row["class"]
            for row in read_rows("grammar.csv")
            if row["class"] in _SILENT
            for form in read_cell(row["forms"])
        }
        self.read_observation = lru_cache(maxsize=_REMEMBERED)(self._read_observation)
        self.read_place = lru_cache(maxsize=_REMEMBERED)(self._read_place)

    def modifiers(self, words: list[str]) -> Iterator[tuple[int, int, str]]:
        """(start, end, class) of the words of a sentence that describe a finding, the longest where they overlap."""
        behind = 0
        for start, end, kind in sorted(self._modifiers.find(words), key=lambda item: (item[0], -item[1])):
            if start >= behind:
                yield start, end, kind
                behind = end

    def anatomy_role(self, word: str) -> str:
        """What a word is that no place form need hold ("lateral" is a sublocation), or an empty string."""
        kind = self._anatomy.get(word, "")
        return _ROLES.get(kind, kind)

    def _read_observation(
        self, words: tuple[str, ...], entities: tuple[str, ...], has_place: bool
    ) -> tuple[Piece, ...]:
        """The pieces of an observation's form; one of them is the head.

        Args:
            words: the form as the lexicon reads it.
            entities: the observations it stands for.
            has_place: whether the form states a place, so that its anatomy can be taken out of it.
        """
        head = self._head(words, entities)
        is_tight = head is None and not has_place and all(self._speaks(word) for word in words)
        if is_tight or words in self._whole:
            return (Piece(0, len(words), HEAD),)
        inner = list(self._inner_anatomy(words, head))
        taken = {index for piece in inner for index in range(piece.start, piece.end)}
        rest = [index for index in range(len(words)) if index not in taken and self._speaks(words[index])]
        if head is None:
            if not rest:
                return (Piece(0, len(words), HEAD),)
            head = next((index for index in rest if words[index] in self._describing), rest[-1])
        others = [Piece(index, index + 1, MODIFIER) for index in rest if index != head]
        return (Piece(head, head + 1, HEAD), *inner, *others)

    def _head(self, words: tuple[str, ...], entities: tuple[str, ...]) -> int | None:
        """The word that alone says most of the observations; of equals the last before a preposition."""
        stop = next((i for i, word in enumerate(words) if i and self._silent.get(word) == "preposition"), len(words))
        said = [len((self._alone.get(word, set()) | {word}) & set(entities)) for word in words[:stop]]
        best = max(said, default=0)
        return max(index for index, count in enumerate(said) if count == best) if best else None

    def _inner_anatomy(self, words: tuple[str, ...], head: int | None) -> Iterator[Piece]:
        """The places inside the form of an observation, and single words of an anatomy class."""
        # of the places that start at a word the longest comes last
        found = {start: (end, place) for start, end, place in self._places.find(words) if has_structure(place)}
        index = 0
        while index < len(words):
            end, place = found.get(index, (index, frozenset()))
            if end > index and (head is None or not index <= head < end):
                for piece in self.read_place(words[index:end], place):
                    yield piece._replace(start=index + piece.start, end=index + piece.end)
                index = end
                continue
            kind = self._anatomy.get(words[index])
            if kind and kind != PART and index != head:
                place = frozenset({words[index]}) if kind in (STRUCTURE, MEASURE) else frozenset()
                yield Piece(index, index + 1, _ROLES.get(kind, kind), place)
            index += 1

    def _read_place(self, words: tuple[str, ...], place: Words) -> tuple[Piece, ...]:
        """The pieces of a place's form: its roots, and the sides, zones and parts that modify them."""
        if any(" " in word for word in place):  # the rule list knows it as one: "cavoatrial junction"
            return (Piece(0, len(words), ROOT, place),)
        pieces: list[Piece] = []
        opens = False
        for index, word in enumerate(words):
            if not self._speaks(word):
                opens = opens or self._silent.get(word) == _CONJUNCTION
                continue
            kind = MODIFIER if word in self._describing else self._anatomy.get(word, ROOT)
            pieces.append(Piece(index, index + 1, _ROLES.get(kind, kind), place, opens))
            opens = False
        return tuple(pieces)

    def _speaks(self, word: str) -> bool:
        """Whether a word can be an entity: no function word and no mark."""
        return word not in self._silent and any(letter.isalnum() for letter in word)
