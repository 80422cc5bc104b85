"""The word lists of `data/` as one tree of phrases, which finds their entries in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from report_parsing.lexicon.phrases import PhraseTree
from report_parsing.lexicon.slots import read_forms
from report_parsing.lexicon.spelling import SHORTEST, Spelling
from report_parsing.lexicon.tokens import tokenize
from report_parsing.resources import read_cell, read_rows

_KINDS = ("observation", "bound", "cue", "answer", "location", "enclosing", "grammar")
_MARKS = {  # classes of grammar.csv that are no tag -> fields of a reading
    **{"interpret": "links", "inherit": "inherits", "affirm": "affirms", "assert": "asserts", "study": "studies"},
    **{"noun": "nouns", "ordinal": "ordinals", "overlie": "overlies", "favor": "favors"},
}
_NONE: Set[int] = frozenset()


class Observation(NamedTuple):
    """What a form says: the observations, whether it is a finding or a state, and where it is by itself."""

    entities: tuple[str, ...]
    role: str  # finding, state
    home: str  # structure meant when only a side is named
    location: frozenset[str]  # words of a location that the form itself states; of a state, structures it is said of


class Cue(NamedTuple):
    """A word of negation or doubt: on which side of its object it stands, what it says and how far it reaches."""

    side: str  # before, after, between, none, answer
    says: str  # absent, uncertain, present, unexcluded
    reach: str  # list, phrase, next, device


class Topic(NamedTuple):
    """The subject of a line of a template, tokens `start` to `separator`: "Effusion" of "Effusion: none"."""

    start: int
    separator: int  # the colon or dash that the answer follows


class Mention(NamedTuple):
    """An entry of a word list found at tokens `start` to `end` (exclusive) of a sentence."""

    start: int
    end: int
    term: Any


@dataclass
class Reading:
    """A sentence after look-up: tokens, the grammar tag of each, and the mentions by kind."""

    words: list[str]  # lower case
    spans: list[tuple[int, int]]  # characters of the sentence
    tags: list[str]  # word, observation, location, or a class of grammar.csv
    observations: list[Mention]
    cues: list[Mention]
    locations: dict[int, Mention]  # by each of their tokens
    clauses: list[int] = field(default_factory=list)  # clause of each token
    links: Set[int] = _NONE  # tokens such as "represents" or "versus"
    inherits: Set[int] = _NONE  # tokens such as "adjacent"
    affirms: Set[int] = _NONE  # tokens such as "small"
    asserts: Set[int] = _NONE  # tokens such as "persists"
    studies: Set[int] = _NONE  # tokens such as "film"
    nouns: Set[int] = _NONE  # tokens such as "hilum", which no name of a finding begins with
    ordinals: Set[int] = _NONE  # tokens such as "sixth"
    overlies: Set[int] = _NONE  # tokens such as "over"
    favors: Set[int] = _NONE  # tokens such as "favors"
    answers: list[Mention] = field(default_factory=list)  # cues that are heard behind the colon of a template only
    topics: list[Topic] = field(default_factory=list)


class Lexicon:
    """The data files, compiled. Reading a sentence costs one pass over its words."""

    def __init__(self) -> None:
        self._phrases = PhraseTree()
        self._classes: dict[str, str] = {}
        self._marks: dict[str, list[str]] = {}  # by word
        words: dict[str, set[str]] = {kind: set() for kind in _KINDS}
        places: list[tuple[list[str], Any]] = []
        for kind, term, forms in (*_observations(), *_cues(), *_locations()):
            for form in forms:
                added = self._add(form, kind, term)
                words[kind].update(added)
                if kind == "location" and term and len(added) > 1:
                    places.append((added, term))
        self._mark_enclosing(places)
        self._add_grammar()
        correct = {row["word"] for row in read_rows("not_misspelt.csv")}
        self._spelling = Spelling(
            words["observation"] | words["location"],
            words["bound"] | words["cue"] | words["answer"] | set(self._classes) | correct,
        )

    def knows(self, form: str) -> bool:
        """Whether the form, as a whole, is an observation or a location."""
        words, _ = tokenize(form)
        return any(
            (start, end) == (0, len(words)) and kind in ("observation", "location")
            for start, end, (kind, _) in self._phrases.find(words)
        )

    def read(self, sentence: str) -> Reading:
        """Tokens, tags and mentions of a sentence; the longest form wins where forms of a kind overlap."""
        words, spans = tokenize(sentence)
        words = [self._spelling.correct(word) if len(word) >= SHORTEST else word for word in words]
        found: dict[str, list[Mention]] = {kind: [] for kind in _KINDS}
        for start, end, (kind, term) in self._phrases.find(words):
            found[kind].append(Mention(start, end, term))
        tags = [self._classes.get(word, "word") for word in words]
        for mention in _longest(found["grammar"]):
            tags[mention.start : mention.end] = [mention.term] * (mention.end - mention.start)
        named = _with_bound(found) if found["bound"] else found["observation"]
        observations = _longest(_outside(named, found["enclosing"]) if found["enclosing"] else named)
        locations = self._tag_mentions(tags, observations, found["location"])
        marks = self._marked(words)
        return Reading(
            words=words,
            spans=spans,
            tags=tags,
            observations=[mention for mention in observations if mention.term.entities],
            cues=_longest(found["cue"]),
            locations=locations,
            answers=_longest(found["answer"]),
            links=marks.get("links", _NONE),
            inherits=marks.get("inherits", _NONE),
            affirms=marks.get("affirms", _NONE),
            asserts=marks.get("asserts", _NONE),
            studies=marks.get("studies", _NONE),
            nouns=marks.get("nouns", _NONE),
            ordinals=marks.get("ordinals", _NONE),
            overlies=marks.get("overlies", _NONE),
            favors=marks.get("favors", _NONE),
        )

    def _marked(self, words: list[str]) -> dict[str, set[int]]:
        """The tokens of each mark of grammar.csv that the words hold."""
        marked: dict[str, set[int]] = {}
        for index, word in enumerate(words):
            for mark in self._marks.get(word, ()):
                marked.setdefault(mark, set()).add(index)
        return marked

    @staticmethod
    def _tag_mentions(tags: list[str], observations: list[Mention], locations: list[Mention]) -> dict[int, Mention]:
        """Write observations and locations into the tags; a location inside an observation belongs to it."""
        taken = bytearray(len(tags))  # 1 for a token of an observation
        for start, end, term in observations:
            tags[start:end] = [term.role if term.entities else "word"] * (end - start)
            taken[start:end] = b"\1" * (end - start)
        located: dict[int, Mention] = {}
        for mention in _longest([item for item in locations if 1 not in taken[item.start : item.end]]):
            start, end, words = mention
            tags[start:end] = ["location" if words else "word"] * (end - start)
            if words:
                located.update(dict.fromkeys(range(start, end), mention))
        return located

    def _add(self, form: str, kind: str, term: Any) -> list[str]:
        words, _ = tokenize(form)
        self._phrases.add(words, (kind, term))
        return words

    def _mark_enclosing(self, places: list[tuple[list[str], Any]]) -> None:
        """Mark the names of places that hold the name of an observation."""
        for words, place in places:
            inside = (span for *span, (kind, _) in self._phrases.find(words) if kind in ("observation", "bound"))
            if any(span != [0, len(words)] for span in inside):
                self._phrases.add(words, ("enclosing", place))

    def _add_grammar(self) -> None:
        for row in read_rows("grammar.csv"):
            forms = row["forms"].split("|")
            for form in forms:
                if row["class"] in _MARKS:
                    self._marks.setdefault(form, []).append(_MARKS[row["class"]])
                elif len(tokenize(form)[0]) == 1:
                    self._classes[form] = row["class"]
                else:
                    self._add(form, "grammar", row["class"])


def observation_forms() -> Iterator[tuple[tuple[str, ...], str]]:
    """(observations, form) of every entry of the lexicon: the aliases of the vocabulary."""
    for _, term, forms in _observations():
        yield from ((term.entities, form) for form in forms if term.entities)


def _observations() -> Iterator[tuple[str, Observation, tuple[str, ...]]]:
    for row in read_rows("observations.csv"):
        entities = () if row["entities"] == "-" else read_cell(row["entities"])
        location = frozenset(read_cell(row["place"], "+"))
        kind = "bound" if row["role"] == "state" and location else "observation"
        yield kind, Observation(entities, row["role"], row["home"], location), read_forms(row["forms"])


def _cues() -> Iterator[tuple[str, Cue, tuple[str, ...]]]:
    for row in read_rows("cues.csv"):
        kind = "answer" if row["side"] == "answer" else "cue"
        yield kind, Cue(row["side"], row["says"], row["reach"]), read_forms(row["forms"])


def _locations() -> Iterator[tuple[str, frozenset[str], tuple[str, ...]]]:
    for row in read_rows("locations.csv"):
        yield "location", frozenset(read_cell(row["words"], "+")), read_forms(row["forms"])


def _with_bound(found: dict[str, list[Mention]]) -> list[Mention]:
    """The observations with those states that are said of certain structures, where the sentence names one of them."""
    places = frozenset[str]().union(*(mention.term for mention in found["location"]))
    bound = [mention for mention in found["bound"] if not mention.term.location.isdisjoint(places)]
    return sorted(found["observation"] + bound, key=lambda item: item[:2]) if bound else found["observation"]


def _outside(observations: list[Mention], places: list[Mention]) -> list[Mention]:
    """The observations that are no part of a place: no "cavity" in "pleural cavity"."""
    inside = {token for place in places for token in range(place.start, place.end)}
    return [item for item in observations if item.start not in inside or item.end - 1 not in inside]


def _longest(mentions: list[Mention]) -> list[Mention]:
    """Of mentions in order of appearance the longest where they overlap; equal spans all stay."""
    if len(mentions) < 2:
        return mentions
    kept: list[Mention] = []
    group: list[Mention] = []  # mentions that overlap
    end = 0
    for mention in mentions:
        if mention.start >= end and group:
            kept += _longest_of(group, end)
            group = []
        group.append(mention)
        end = max(end, mention.end)
    return kept + _longest_of(group, end)


def _longest_of(group: list[Mention], end: int) -> list[Mention]:
    """The longest of mentions that overlap, and what is left beside it."""
    if len(group) == 1:
        return group
    span = group[0].start, end
    whole = [mention for mention in group if mention[:2] == span]
    if whole:
        return whole
    kept: list[Mention] = []
    taken: dict[int, tuple[int, int]] = {}
    for mention in sorted(group, key=lambda item: (item.start - item.end, item.start)):
        span = mention[:2]
        if all(taken.get(token, span) == span for token in range(*span)):
            kept.append(mention)
            taken.update(dict.fromkeys(range(*span), span))
    return sorted(kept, key=lambda item: item.start)
