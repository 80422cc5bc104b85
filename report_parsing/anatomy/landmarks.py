"""Structures that say how high or on which side a finding of the lung is seen: "nodule over the right sixth rib"."""

from __future__ import annotations

from report_parsing.anatomy.positions import SIDES, Words
from report_parsing.anatomy.runs import NOWHERE, Location
from report_parsing.lexicon.words import Mention, Reading
from report_parsing.vocabulary import DEVICE_ENTITIES

_LANDMARKS: Words = frozenset({"rib", "clavicle", "heart", "aorta", "elsewhere"})
_INSIDE = ("lung", "pleural")  # homes of findings that no bone holds
_REACH = 8  # words between a preposition and the structure that it leads to: "between the posterior 5th and 6th ribs"


def as_place(reading: Reading, mention: Mention, location: Location) -> Location:
    """What a location behind a finding says of its place: of a landmark only the side, of a level nothing."""
    if not location.words or mention.term.home not in _INSIDE:
        return location
    leading = range(max(mention.end, location.start - _REACH), location.start)
    if any(reading.words[token] in ("level", "levels") for token in (*leading, location.start)):
        return NOWHERE
    if reading.overlies.isdisjoint(leading):
        return location
    words = tuple(dict.fromkeys(_side_of(item) for item in location.words))
    return Location(words, location.start, location.end) if any(words) else NOWHERE


def is_passed(mention: Mention, location: Location) -> bool:
    """Whether a device only passes a structure: "tube below the diaphragm, terminating in the stomach"."""
    return not DEVICE_ENTITIES.isdisjoint(mention.term.entities) and all("diaphragm" in item for item in location.words)


def _side_of(words: Words) -> Words:
    if not words & _LANDMARKS:
        return words
    return words & SIDES | {"lung"} if words & SIDES else frozenset()
