"""Runs of anatomy words in a sentence, read as composed locations: "right upper and left lower lobes" are two."""

from __future__ import annotations

from typing import NamedTuple

from report_parsing.anatomy.positions import SIDES, ZONES, Words, has_structure, is_complete, join_conjuncts, merge
from report_parsing.lexicon.words import Reading

_BOTH = frozenset({"bilateral"})
DEIDENTIFIED = frozenset({"xxxx", "___"})


class Location(NamedTuple):
    """Alternatives of anatomy words ("both bases" may be two), and the tokens they were read from."""

    words: tuple[Words, ...] = ()
    start: int = 0
    end: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether nothing can narrow it."""
        return bool(self.words) and all(is_complete(words) for words in self.words)

    def narrowed(self, other: Location) -> Location:
        """This location with what the other adds, where they agree."""
        if not self.words:
            return other
        if not other.words or self.is_settled:
            return self
        words = merge(self.words, other.words)
        if words == self.words:
            return self
        return Location(words, min(self.start, other.start), max(self.end, other.end))


NOWHERE = Location()


def read_run(reading: Reading, start: int, end: int) -> Location:
    """The locations among the tokens, with conjuncts completed: "right upper and left lower lobes" are two."""
    if start >= end or not reading.locations:
        return NOWHERE
    conjuncts: list[Words] = [frozenset()]
    touched = []
    last = None
    for index in range(start, end):
        mention = reading.locations.get(index)
        if mention is None:
            if reading.tags[index] in ("and", "comma"):
                conjuncts.append(frozenset())
        elif mention is not last:
            conjuncts[-1] = _add_words(conjuncts[-1], mention.term)
            touched.append(mention)
            last = mention
    if not touched:
        return NOWHERE
    words = join_conjuncts(tuple(_attach_both_sides(conjuncts)))
    return Location(words, touched[0].start, touched[-1].end) if words else NOWHERE


def _attach_both_sides(conjuncts: list[Words]) -> list[Words]:
    """A conjunct that says no more than "on both sides" belongs to the one before: "in the bases, right worse"."""
    joined: list[Words] = []
    for words in conjuncts:
        if joined and words == _BOTH and not joined[-1] & SIDES:
            joined[-1] |= words
        else:
            joined.append(words)
    return joined


def _add_words(words: Words, more: Words) -> Words:
    """One conjunct with its next words: the first side counts, and of two zones that of the structure."""
    if words & SIDES:
        more = more - SIDES
    if words & ZONES and more & ZONES:  # "superior segment of the lower lobe", "inferior left upper lobe"
        return words - ZONES | more if has_structure(more) else words | more - ZONES
    return words | more


def run_end(reading: Reading, index: int, end: int) -> int:
    """The end of the locations that go on from `index`: "left and right upper lobes", "lung and of the pleura"."""
    stop = index + 1
    joined = False  # behind an "and" only a location goes on: "lungs and flattened diaphragms" are two things
    while index < end:
        tag = reading.tags[index]
        if tag == "location":
            stop, joined = index + 1, False
        elif tag in ("and", "comma"):
            joined = True
        elif tag != "determiner" and reading.words[index] != "of" and not _is_inside(reading, index, joined=joined):
            break
        index += 1
    return stop


def _is_inside(reading: Reading, index: int, *, joined: bool) -> bool:
    """Whether a word may stand in a run; behind an "and" only the number of a structure may: "3rd and 4th ribs"."""
    is_number = index in reading.ordinals or reading.words[index].isdigit()
    return reading.tags[index] == "word" and (not joined or is_number)


def run_start(reading: Reading, index: int, clause: int) -> int:
    """The start of the run of locations that ends at `index`, within the clause."""
    start = index
    while index >= 0 and reading.clauses[index] == clause:
        tag = reading.tags[index]
        if tag == "location":
            start = index
        elif tag not in ("word", "determiner", "and", "comma") and reading.words[index] != "of":
            break
        index -= 1
    return start


def own_end(reading: Reading, start: int, stop: int, end: int) -> int:
    """The end of a run of locations without the ones that modify the next finding: "in the lung and left effusion"."""
    follower = stop
    while follower < end and reading.tags[follower] == "word" and not _breaks_phrase(reading, follower):
        follower += 1
    if follower == end or reading.tags[follower] != "finding":
        return stop
    return next((token for token in range(stop - 1, start, -1) if reading.tags[token] in ("and", "comma")), start)


def _breaks_phrase(reading: Reading, token: int) -> bool:
    """Whether a removed word, mostly a verb in these texts, or a negation stands there."""
    return reading.words[token] in DEIDENTIFIED or any(cue.start == token for cue in reading.cues)
