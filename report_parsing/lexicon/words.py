"""The word lists of `data/` as one tree of phrases, which finds their entries in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from report_parsing.lexicon.phrases import PhraseTree
from report_parsing.lexicon.slots import read_forms
from report_parsing.lexicon.spelling import SHORTEST, Spelling
from report_parsing.lexicon.tokens import tokenize
from report_parsing.resources import read_cell, read_rows

_MARKS = (
    "interpret",
    "inherit",
    "affirm",
    "assert",
    "study",
    "noun",
    "ordinal",
    "overlie",
)  # classes of grammar.csv that are no tag


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
    links: set[int] = field(default_factory=set)  # tokens such as "represents" or "versus"
    inherits: set[int] = field(default_factory=set)  # tokens such as "adjacent"
    affirms: set[int] = field(default_factory=set)  # tokens such as "small"
    asserts: set[int] = field(default_factory=set)  # tokens such as "persists"
    studies: set[int] = field(default_factory=set)  # tokens such as "film"
    nouns: set[int] = field(default_factory=set)  # tokens such as "hilum", which no name of a finding begins with
    ordinals: set[int] = field(default_factory=set)  # tokens such as "sixth", and numbers
    overlies: set[int] = field(default_factory=set)  # tokens such as "over"
    answers: list[Mention] = field(default_factory=list)  # cues that are heard behind the colon of a template only
    topics: list[Topic] = field(default_factory=list)


class Lexicon:
    """The data files, compiled. Reading a sentence costs one pass over its words."""

    def __init__(self) -> None:
        self._phrases = PhraseTree()
        self._classes: dict[str, str] = {}
        self._marks: dict[str, set[str]] = {name: set() for name in _MARKS}
        words: dict[str, set[str]] = {}
        for kind, term, forms in (*_observations(), *_cues(), *_locations()):
            for form in forms:
                words.setdefault(kind, set()).update(self._add(form, kind, term))
        self._add_grammar()
        correct = {row["word"] for row in read_rows("not_misspelt.csv")}
        self._spelling = Spelling(
            words["observation"] | words["location"], words["cue"] | words["answer"] | set(self._classes) | correct
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
        found: dict[str, list[Mention]] = {name: [] for name in ("observation", "cue", "answer", "location", "grammar")}
        for start, end, (kind, term) in self._phrases.find(words):
            found[kind].append(Mention(start, end, term))
        tags = [self._classes.get(word, "word") for word in words]
        for mention in _longest(found["grammar"]):
            tags[mention.start : mention.end] = [mention.term] * (mention.end - mention.start)
        places = frozenset[str]().union(*(mention.term for mention in found["location"]))
        observations = _longest([item for item in found["observation"] if _may_stand(item.term, places)])
        locations = self._tag_mentions(tags, observations, found["location"])
        return Reading(
            words=words,
            spans=spans,
            tags=tags,
            observations=[mention for mention in observations if mention.term.entities],
            cues=_longest(found["cue"]),
            locations=locations,
            links=self._marked(words, "interpret"),
            inherits=self._marked(words, "inherit"),
            affirms=self._marked(words, "affirm"),
            asserts=self._marked(words, "assert"),
            studies=self._marked(words, "study"),
            nouns=self._marked(words, "noun"),
            ordinals=self._marked(words, "ordinal"),
            overlies=self._marked(words, "overlie"),
            answers=_longest(found["answer"]),
        )

    def _marked(self, words: list[str], mark: str) -> set[int]:
        marked = self._marks[mark].intersection(words)
        return {index for index, word in enumerate(words) if word in marked} if marked else set()

    @staticmethod
    def _tag_mentions(tags: list[str], observations: list[Mention], locations: list[Mention]) -> dict[int, Mention]:
        """Write observations and locations into the tags; a location inside an observation belongs to it."""
        taken: set[int] = set()
        for mention in observations:
            tag = mention.term.role if mention.term.entities else "word"
            tags[mention.start : mention.end] = [tag] * (mention.end - mention.start)
            taken.update(range(mention.start, mention.end))
        located: dict[int, Mention] = {}
        if not locations:
            return located
        for mention in _longest([item for item in locations if taken.isdisjoint(range(item.start, item.end))]):
            tokens = range(mention.start, mention.end)
            tags[mention.start : mention.end] = ["location" if mention.term else "word"] * len(tokens)
            located.update(dict.fromkeys(tokens, mention) if mention.term else {})
        return located

    def _add(self, form: str, kind: str, term: Any) -> list[str]:
        words, _ = tokenize(form)
        self._phrases.add(words, (kind, term))
        return words

    def _add_grammar(self) -> None:
        for row in read_rows("grammar.csv"):
            forms = row["forms"].split("|")
            if row["class"] in self._marks:
                self._marks[row["class"]].update(forms)
                continue
            for form in forms:
                if len(tokenize(form)[0]) == 1:
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
        yield "observation", Observation(entities, row["role"], row["home"], location), read_forms(row["forms"])


def _cues() -> Iterator[tuple[str, Cue, tuple[str, ...]]]:
    for row in read_rows("cues.csv"):
        kind = "answer" if row["side"] == "answer" else "cue"
        yield kind, Cue(row["side"], row["says"], row["reach"]), read_forms(row["forms"])


def _locations() -> Iterator[tuple[str, frozenset[str], tuple[str, ...]]]:
    for row in read_rows("locations.csv"):
        yield "location", frozenset(read_cell(row["words"], "+")), read_forms(row["forms"])


def _may_stand(term: Observation, places: frozenset[str]) -> bool:
    """Whether a sentence names what a state is said of, if it is said of certain structures only."""
    return term.role != "state" or not term.location or not term.location.isdisjoint(places)


def _longest(mentions: list[Mention]) -> list[Mention]:
    """Mentions in order of appearance; where they overlap the longest stays, and equal spans all stay."""
    if all(second.start >= first.end for first, second in pairwise(mentions)):
        return mentions
    kept: list[Mention] = []
    taken: dict[int, tuple[int, int]] = {}
    for mention in sorted(mentions, key=lambda item: (item.start - item.end, item.start)):
        span = (mention.start, mention.end)
        if all(taken.get(token, span) == span for token in range(*span)):
            kept.append(mention)
            taken.update(dict.fromkeys(range(*span), span))
    return sorted(kept, key=lambda item: item.start)
