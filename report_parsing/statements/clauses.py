"""Clauses of a sentence: how far a subject, a location or a negation carries.

Commas and `and` join lists as often as they join clauses ("no pneumothorax, effusion or consolidation" against
"no pneumothorax, the heart is enlarged"), so each is judged by what stands on its two sides.
"""

from __future__ import annotations

from dataclasses import dataclass

from report_parsing.lexicon.words import Reading

_LIST_ONLY = frozenset({"or", "nor", "and/or", "/", "&"})


@dataclass
class _Segment:
    """Tokens between two separators."""

    start: int
    end: int
    separators: tuple[str, ...] = ()  # the words in front
    verb: bool = False
    observation: bool = False
    negated: bool = False  # opens with a negation
    location_first: bool = False  # a location is the subject: no finding stands before it
    predicate: bool = False  # a verb or a state follows the location
    affirmed: bool = False  # holds a word such as "small", and no "or" follows it


def split_clauses(reading: Reading) -> list[int]:
    """The number of the clause that each token belongs to."""
    clauses = [0] * len(reading.words)
    current: _Segment | None = None
    number = 0
    closed = False  # a negated list has had its "or"
    segments = _segments(reading)
    for index, segment in enumerate(segments):
        _describe(reading, segment)
        segment.affirmed &= not any({"or", "nor"} & set(later.separators) for later in segments[index + 1 :])
        if current is not None and _opens_clause(current, segment, closed):
            number += 1
            current, closed = None, False
        closed = closed or bool(current and current.negated and {"or", "nor"} & set(segment.separators))
        current = _join_segments(current, segment)
        for token in range(segment.start - len(segment.separators), segment.end):
            clauses[token] = number
    return clauses


def _segments(reading: Reading) -> list[_Segment]:
    segments: list[_Segment] = []
    start = 0
    separators: list[str] = []
    for index, tag in enumerate([*reading.tags, "stop"]):
        if tag not in ("stop", "comma", "and"):
            continue
        if index > start:
            segments.append(_Segment(start, index, tuple(separators)))
            separators = []
        separators.append("stop" if tag == "stop" else reading.words[index])
        start = index + 1
    return segments


def _describe(reading: Reading, segment: _Segment) -> None:
    tags = reading.tags[segment.start : segment.end]
    segment.verb = "verb" in tags
    segment.observation = "finding" in tags or "state" in tags
    segment.affirmed = any(token in reading.affirms for token in range(segment.start, segment.end))
    segment.negated = any(
        cue.term.side == "before" and cue.term.says == "absent" and segment.start <= cue.start < segment.end
        for cue in reading.cues
    )
    first = next((index for index, tag in enumerate(tags) if tag in ("location", "finding", "state")), None)
    if first is not None and tags[first] == "location":
        rest = tags[first:]
        later = next((tag for tag in rest if tag in ("finding", "state", "verb", "preposition")), "")
        segment.location_first = True
        segment.predicate = later in ("state", "verb")


def _opens_clause(current: _Segment, segment: _Segment, closed: bool) -> bool:
    separators = set(segment.separators)
    if "stop" in separators:
        return True
    if separators & _LIST_ONLY or not current.observation:
        return False
    if segment.location_first and segment.predicate:  # "..., heart size is normal"
        return True
    ends_list = closed or (current.negated and segment.affirmed)  # "no X or Y, Z"; "no X, small Y"
    if ends_list and separators == {","} and segment.observation:
        return True
    if segment.negated and segment.observation:
        return True
    if segment.verb:  # "..., and the effusion has resolved"
        return current.verb or (separators == {","} and not current.negated)
    return False


def _join_segments(current: _Segment | None, segment: _Segment) -> _Segment:
    if current is None:
        return segment
    current.end = segment.end
    current.verb |= segment.verb
    current.observation |= segment.observation
    current.negated |= segment.negated
    return current
