"""The location that an observation has from what is said before it: "left effusion with adjacent atelectasis"."""

from __future__ import annotations

from report_parsing.anatomy.positions import OF_LUNG, SIDES, ZONES, Words, has_structure
from report_parsing.anatomy.runs import NOWHERE, Location, read_run, run_end
from report_parsing.lexicon.words import Mention, Reading

_GOES_ON = ("which", "?", "appearance", "this", "these")  # a clause about the finding before: "opacity; this suggests"


def inherit_location(reading: Reading, mention: Mention, source: Mention, location: Location) -> Location:
    """The location of the finding before, if "adjacent", "represents", their kind or "and" passes it on."""
    between = range(source.end, mention.start)
    same_clause = reading.clauses[source.start] == reading.clauses[mention.start]
    if not mention.term.home or not (same_clause or any(reading.words[token] in _GOES_ON for token in between)):
        return NOWHERE
    tags = {reading.tags[token] for token in between}
    interprets = not between or any(token in reading.links and reading.tags[token] != "and" for token in between)
    joined = "and" in tags or any(reading.words[token] == "with" for token in between)
    interprets = interprets or (tags <= {"comma", "and"} and _is_passed_on(source, location))
    if not interprets and not joined and not any(token in reading.inherits for token in between):
        return NOWHERE
    if source.term.role == "state" and not interprets:
        return NOWHERE
    alike = interprets or source.term.home == mention.term.home == "lung"
    passed_on = SIDES | ZONES | OF_LUNG if alike else SIDES
    words = tuple(_beside(words, mention.term.home) for words in location.words if words & passed_on)
    return Location(words, mention.start, mention.end) if words else NOWHERE


def with_structure(reading: Reading, location: Location) -> Location:
    """A mere side with the structure of the other side: "the left angle is sharp, the right is blunted"."""
    if len(location.words) != 1 or not location.words[0] or location.words[0] - SIDES:
        return location
    others = (reading.locations.get(token) for token in range(location.start - 1, -1, -1))
    structure = next((other.term for other in others if other is not None and has_structure(other.term)), None)
    if structure is None or structure & location.words[0]:
        return location
    return Location((structure - SIDES | location.words[0],), location.start, location.end)


def subject_before(reading: Reading, mention: Mention) -> Location:
    """The subject that a state behind "but" has from the clause before: "lungs are hyperinflated but clear"."""
    start = mention.start
    while start > 0 and reading.tags[start - 1] in ("word", "verb"):
        start -= 1
    if start < 2 or reading.words[start - 1] not in ("but", "yet"):
        return NOWHERE
    clause = reading.clauses[start - 2]
    first = next((token for token in range(start) if reading.clauses[token] == clause), start)
    while first < start and reading.tags[first] in ("word", "determiner"):
        first += 1
    if reading.tags[first] != "location":
        return NOWHERE
    return read_run(reading, first, run_end(reading, first, start - 1))


def _is_passed_on(mention: Mention, location: Location) -> bool:
    """Whether the location of a mention is that of the finding before it: "opacity, likely edema, pneumonia or ..."."""
    return not mention.term.location and (location.start, location.end) == (mention.start, mention.end)


def _beside(words: Words, home: str) -> Words:
    """Lung beside a pleural finding is the base of that lung; pleura beside a lung finding is of the same side."""
    if home == "lung" and words & {"pleural", "costophrenic"}:
        return words & SIDES | {"lung", "base"}
    if home == "pleural":
        return words & (SIDES | {"apical"}) | (frozenset() if "apical" in words else {home})
    return words
