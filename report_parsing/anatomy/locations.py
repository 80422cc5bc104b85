"""The anatomic location of an observation: its modifiers, what follows a preposition, or the subject."""

from __future__ import annotations

from report_parsing.anatomy.coordination import described_end, is_of_state, opens_phrase
from report_parsing.anatomy.inheritance import inherit_location, subject_before, with_structure
from report_parsing.anatomy.landmarks import as_place, is_passed
from report_parsing.anatomy.positions import GENERAL, OF_LUNG, SIDES, ZONES, Words, merge
from report_parsing.anatomy.runs import NOWHERE, Location, own_end, read_run, run_end, run_start
from report_parsing.lexicon.words import Mention, Reading
from report_parsing.vocabulary import NORMAL_ENTITIES

_SKIPPED = ("word", "determiner")
_BETWEEN_SIDES = ("word", "determiner", "preposition", "comma", "and")
_ATTRIBUTE_REACH = 2  # words between a state and what it describes: "normal appearing lungs"
# an effusion "in the lower lobe" is in the pleura
_BESIDE_PLEURA = frozenset({"lobe", "costophrenic", "diaphragm", "rib"})


def find_location(reading: Reading, mention: Mention, previous: tuple[Mention, Location] | None) -> Location | None:
    """The location of a mention; None for a state of a finding ("stable effusion") or of nothing in the image.

    Args:
        reading: the sentence.
        mention: the observation to locate.
        previous: the finding before it in the sentence and its location, which "adjacent" or "and" passes on.
    """
    if mention.term.role == "state":
        location = _locate_state(reading, mention)
        only = mention.term.location  # "large" is said of the heart
        if location is None or (only and (not location.words or only.isdisjoint(location.words[0]))):
            return None
        return location
    return _add_own_location(mention, _locate_finding(reading, mention, previous))


def _locate_finding(reading: Reading, mention: Mention, previous: tuple[Mention, Location] | None) -> Location:
    if not reading.locations and previous is None:
        return NOWHERE
    location = modifiers = _modifiers(reading, mention)
    if modifiers.is_settled:
        return location
    end = _clause_end(reading, mention)
    piece = _after(reading, mention.end, end)
    location = location.narrowed(as_place(reading, mention, piece))
    if piece.words:  # "bilaterally, predominantly in the bases"
        more = _after(reading, piece.end, end)
        if more.words and is_passed(mention, piece):
            location = modifiers.narrowed(more)
        elif _is_other_side(reading, piece, more):
            location = Location((*location.words, *more.words), location.start, more.end)
        elif "and" not in reading.tags[piece.end : more.start]:
            location = location.narrowed(as_place(reading, mention, more))
    if not location.words and previous is not None:
        location = inherit_location(reading, mention, *previous)
    if not location.is_settled:
        location = location.narrowed(_subject(reading, mention, mention.start) or NOWHERE)
    if modifiers.words and not any(words & SIDES for words in location.words):
        subject = _subject(reading, mention, modifiers.start) or NOWHERE
        if all(words & SIDES and words & OF_LUNG for words in subject.words):
            location = location.narrowed(subject)  # "the left lung shows basal atelectasis"
    return location


def _is_other_side(reading: Reading, first: Location, second: Location) -> bool:
    """Whether the finding is on the other side too: "small effusion on the left, moderate on the right"."""
    sides = [words for location in (first, second) for words in location.words]
    between = range(first.end, second.start)
    if len(sides) != 2 or sides[0] == sides[1] or not all(words <= SIDES - {"bilateral"} for words in sides):
        return False
    heard = any(cue.start in between for cue in (*reading.cues, *reading.answers))
    return not heard and all(reading.tags[token] in _BETWEEN_SIDES for token in between)


def _locate_state(reading: Reading, mention: Mention) -> Location | None:
    attribute = _find_described(reading, mention)
    if attribute is None:
        return None
    if attribute.words:
        attribute = attribute.narrowed(_side_behind(reading, attribute.end, _clause_end(reading, mention)))
    location = attribute.narrowed(_modifiers(reading, mention))
    subject = _subject(reading, mention, mention.start)
    if subject is None and not location.words:
        return None
    location = location.narrowed(subject or NOWHERE)
    if subject and subject.words:  # "the diaphragm is elevated on the right"
        location = location.narrowed(_side_behind(reading, mention.end, _clause_end(reading, mention)))
    if not location.words:
        location = _after(reading, mention.end, _clause_end(reading, mention))
    if not location.words:
        location = subject_before(reading, mention)
    location = with_structure(reading, location)
    if not location.words and not set(mention.term.entities) & set(NORMAL_ENTITIES):
        return None  # "elevated" of nothing that is in the image
    return location


def _add_own_location(mention: Mention, location: Location) -> Location:
    """Add the structure that the observation itself states, or is at home in when only a side is named."""
    own = mention.term.location
    home = mention.term.home
    if not location.words:
        return Location((own,), mention.start, mention.end) if own else location
    words = tuple(_keep_own_words(own, item) for item in location.words) if own else location.words
    if home == "pleural":
        words = tuple(item & SIDES | {home} if item & _BESIDE_PLEURA else item for item in words)
        words = tuple(item | {home} if not item - SIDES - GENERAL - {"base"} else item for item in words)
    elif home:
        words = tuple(
            item | {home} if item & (SIDES | ZONES) and not item - SIDES - ZONES - GENERAL else item for item in words
        )
    return Location(words, location.start, location.end)


def _keep_own_words(own: Words, words: Words) -> Words:
    """The structure that an observation states stays; of a location that contradicts it only the side counts."""
    (merged,) = merge((words,), (own,))
    return merged if own <= merged else own | (words & SIDES)


def _modifiers(reading: Reading, mention: Mention) -> Location:
    """Locations in front of the mention in its own noun phrase: "small left pleural", "right upper and lower lobe"."""
    start = mention.start
    clause = reading.clauses[mention.start]
    first = start
    while start > 0 and reading.clauses[start - 1] == clause:
        tag = reading.tags[start - 1]
        if tag == "location":
            if "than" in reading.words[reading.locations[start - 1].start : start]:
                break  # "left greater than right" speaks of the finding before
            first = start - 1
        elif tag in ("and", "comma"):
            if not _joins_modifiers(reading, start - 1, mention) or is_of_state(reading, start - 1, mention):
                break
        elif tag not in ("word", "state"):
            break
        start -= 1
    return read_run(reading, first, mention.start)


def _joins_modifiers(reading: Reading, separator: int, mention: Mention) -> bool:
    """Whether a location stands right before the separator and is not the object of a preposition."""
    index = separator - 1
    while index >= 0 and reading.tags[index] in ("and", "comma"):
        index -= 1
    if index < 0 or reading.tags[index] != "location" or (mention.term.home and index in reading.nouns):
        return False
    while index >= 0 and reading.tags[index] in ("location", "word", "and", "comma"):
        index -= 1
    if index < 0 or reading.tags[index] not in ("preposition", "determiner") or _is_opening(reading, index):
        return True
    clause = reading.clauses[separator]  # "decrease in right upper and lower lobe opacities": nothing else is in there
    return not any(item.end <= index and reading.clauses[item.start] == clause for item in reading.observations)


def _is_opening(reading: Reading, index: int) -> bool:
    return reading.tags[index] == "determiner" and (index == 0 or reading.tags[index - 1] != "preposition")


def _find_described(reading: Reading, mention: Mention) -> Location | None:
    """What an attributive state describes: "clear lungs", "elevated right hemidiaphragm"; None when it is a finding."""
    end = _clause_end(reading, mention)
    index = mention.end
    skipped = 0
    while index < end and skipped <= _ATTRIBUTE_REACH:
        tag = reading.tags[index]
        if tag == "location":
            stop = run_end(reading, index, end)
            return _cut_described(reading, mention, index, stop, end)
        if tag == "finding":
            return None
        if tag in _SKIPPED:
            skipped += 1
        elif tag != "state" and not (tag == "and" and index + 1 < end and reading.tags[index + 1] == "state"):
            break
        index += 1
    return NOWHERE


def _cut_described(reading: Reading, mention: Mention, start: int, stop: int, end: int) -> Location | None:
    """The locations from `start` to `stop` without those of a finding that follows them; None where it has them all."""
    follower = stop
    while follower < end and reading.tags[follower] == "word":
        follower += 1
    finding = next((item for item in reading.observations if item.start == follower < end), None)
    if finding is None or finding.term.role != "finding":
        return read_run(reading, start, stop)
    cut = described_end(reading, mention, start, finding)
    if cut is None:
        return None if follower == stop else read_run(reading, start, stop)
    return read_run(reading, start, min(cut, stop))


def _after(reading: Reading, index: int, end: int) -> Location:
    """The location that a preposition, or plain order, puts behind an observation; lists of observations are passed."""
    while index < end:
        tag = reading.tags[index]
        if tag == "location":
            stop = run_end(reading, index, end)
            return read_run(reading, index, own_end(reading, index, stop, end))
        if tag in ("partition", "stop") and not _leads_to_tip(reading, index, end):
            return NOWHERE
        if tag == "state" and opens_phrase(reading, index):
            return NOWHERE
        index += 1
    return NOWHERE


def _side_behind(reading: Reading, index: int, end: int) -> Location:
    """The side that follows a structure or its state: "prominent hilum on the left"."""
    if index >= end or reading.tags[index] != "preposition":
        return NOWHERE
    behind = _after(reading, index, end)
    return behind if all(words <= SIDES for words in behind.words) else NOWHERE


def _leads_to_tip(reading: Reading, index: int, end: int) -> bool:
    """ "catheter with its tip in the SVC": the location of the tip is the location of the catheter."""
    return any(word in ("tip", "tips") for word in reading.words[index + 1 : min(index + 4, end)])


def _subject(reading: Reading, mention: Mention, start: int) -> Location | None:
    """The location that is the subject in front of `start`; None when a state has a finding for its subject."""
    clause = reading.clauses[mention.start]
    index = start - 1
    while index >= 0 and reading.clauses[index] == clause:
        tag = reading.tags[index]
        if tag == "location":
            first = run_start(reading, index, clause)
            return NOWHERE if _belongs_to_finding(reading, first, clause) else read_run(reading, first, index + 1)
        if tag == "finding":
            return None
        if tag == "state" and mention.term.role == "finding":
            return NOWHERE
        index -= 1
    return NOWHERE


def _belongs_to_finding(reading: Reading, start: int, clause: int) -> bool:
    """Whether a finding or state of the same clause stands before the location: "opacity in the left base and ..."."""
    return any(
        reading.clauses[token] == clause and reading.tags[token] in ("finding", "state") for token in range(start)
    )


def _clause_end(reading: Reading, mention: Mention) -> int:
    clause = reading.clauses[mention.start]
    if reading.clauses[-1] == clause:
        return len(reading.clauses)
    end = mention.end
    while end < len(reading.clauses) and reading.clauses[end] == clause:
        end += 1
    return end
