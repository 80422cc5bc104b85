"""Clauses of a sentence: how far a subject, a location or a negation carries.

Commas and `and` join lists as often as they join clauses ("no pneumothorax, effusion or consolidation" against
"no pneumothorax, the heart is enlarged"), so each is judged by what stands on its two sides.
"""

from __future__ import annotations

from dataclasses import dataclass

from report_parsing.anatomy.positions import SIDES, ZONES
from report_parsing.lexicon.words import Reading
from report_parsing.statements.topics import mark_topics

_PLACED = SIDES | ZONES | {"retrocardiac", "apical"}
_SEPARATORS = frozenset({"stop", "comma", "and"})
_ALTERNATIVE = frozenset({"or", "nor"})
_LIST_ONLY = frozenset({"or", "nor", "and/or", "/", "&"})


@dataclass
class _Segment:
    """Tokens between two separators."""

    start: int
    end: int
    separators: tuple[str, ...] = ()  # the words in front
    opens_topic: bool = False  # the subject of a template's line begins here
    within_topic: bool = False  # the subject goes on from the segment before: "Lines, tubes: none"
    verb: bool = False
    observation: bool = False
    negated: bool = False  # opens with a negation
    location_first: bool = False  # a location is the subject: no finding stands before it
    predicate: bool = False  # a verb or a state follows the location
    affirmed: bool = False  # holds a word such as "small" or is a sentence of its own, and no "or" follows it


def split_clauses(reading: Reading) -> list[int]:
    """The number of the clause that each token belongs to; the topics of the reading are marked on the way."""
    mark_topics(reading)
    clauses = [0] * len(reading.words)
    if not reading.topics and _SEPARATORS.isdisjoint(reading.tags[:-1]):
        return clauses
    current: _Segment | None = None
    number = 0
    closed = False  # a negated list has had its "or"
    segments = _segments(reading)
    last_or = max(
        (segment.start for segment in segments if not _ALTERNATIVE.isdisjoint(segment.separators)), default=-1
    )
    for segment in segments:
        _describe(reading, segment)
        segment.affirmed &= segment.start >= last_or
        if current is not None and _opens_clause(current, segment, closed):
            number += 1
            current, closed = None, False
        closed = closed or bool(current and current.negated and not _ALTERNATIVE.isdisjoint(segment.separators))
        current = _join_segments(current, segment)
        for token in range(segment.start - len(segment.separators), segment.end):
            clauses[token] = number
    if segments:
        clauses[segments[-1].end :] = [number] * (len(clauses) - segments[-1].end)
    return clauses


def _segments(reading: Reading) -> list[_Segment]:
    segments: list[_Segment] = []
    start = 0
    separators: list[str] = []
    topics = {topic.start for topic in reading.topics}
    for index, tag in enumerate([*reading.tags, "stop"]):
        if index in topics and index > start:
            segments.append(_Segment(start, index, tuple(separators)))
            start, separators = index, []
        if tag not in _SEPARATORS:
            continue
        if index > start:
            segments.append(_Segment(start, index, tuple(separators)))
            separators = []
        separators.append("stop" if tag == "stop" else reading.words[index])
        start = index + 1
    return segments


def _describe(reading: Reading, segment: _Segment) -> None:
    for topic in reading.topics:
        segment.opens_topic |= topic.start == segment.start
        segment.within_topic |= topic.start < segment.start < topic.separator
    tags = reading.tags[segment.start : segment.end]
    segment.verb = "verb" in tags
    segment.observation = "finding" in tags or "state" in tags
    for cue in reading.cues:
        if segment.start <= cue.start < segment.end:
            segment.negated |= cue.term.side == "before" and cue.term.says == "absent"
            segment.verb |= cue.term.side == "after" and cue.term.says == "unexcluded"  # "edema difficult to exclude"
    segment.affirmed = any(segment.start <= token < segment.end for token in reading.affirms) or (
        segment.verb and segment.observation and _asserts(reading, segment)
    )
    first = next((index for index, tag in enumerate(tags) if tag in ("location", "finding", "state")), None)
    if first is not None and tags[first] == "location":
        rest = tags[first:]
        later = next((tag for tag in rest if tag in ("finding", "state", "verb", "preposition")), "")
        segment.location_first = True
        segment.predicate = later in ("state", "verb")


def _asserts(reading: Reading, segment: _Segment) -> bool:
    """Whether a segment with a verb says where its finding is, or that it is there: "left opacity is seen"."""
    tokens = range(segment.start, segment.end)
    return any(
        token in reading.asserts
        or (token in reading.locations and not _PLACED.isdisjoint(reading.locations[token].term))
        for token in tokens
    )


def _opens_clause(current: _Segment, segment: _Segment, closed: bool) -> bool:
    separators = set(segment.separators)
    if "stop" in separators or segment.opens_topic:
        return True
    if segment.within_topic:
        return False
    if separators & _LIST_ONLY or not current.observation:
        return False
    if segment.location_first and segment.predicate:  # "..., heart size is normal"
        return True
    ends_list = closed or (current.negated and segment.affirmed)  # "no X or Y, Z"; "no X, small Y"
    if ends_list and (separators == {","} or (segment.affirmed and separators == {"and"})) and segment.observation:
        return True
    if segment.negated and segment.observation:
        return True
    if segment.verb and (segment.observation or segment.predicate):  # "..., and the effusion has resolved"
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
