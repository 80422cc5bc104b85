"""Whether an observation is present, absent or uncertain, by cues and their scope (after NegEx and ConText)."""

from __future__ import annotations

from report_parsing.anatomy.positions import SIDES, Words
from report_parsing.lexicon.words import Mention, Reading
from report_parsing.vocabulary import NORMAL_ENTITIES

PRESENT, ABSENT, UNCERTAIN = "present", "absent", "uncertain"

_NEAR = 4  # tokens between an alternative and its "or"
_JOINED_TO_WITH = frozenset({"consistent", "compatible", "keeping", "associated", "concerning"})
_STATE_GAP = 2  # "not definitely enlarged"


def assertion_of(reading: Reading, mention: Mention) -> str:
    """What the cues in scope say; the cue with the fewest observations in between decides, and absence wins a tie."""
    heard = [
        (_observations_between(reading, cue, mention), cue.term.says)
        for cue in reading.cues
        if _in_scope(reading, cue, mention)
    ]
    if not heard:
        doubted = any(cue.term.side == "between" and _is_alternative(reading, cue, mention) for cue in reading.cues)
        return UNCERTAIN if doubted else PRESENT
    nearest = min(distance for distance, _ in heard)
    said = {says for distance, says in heard if distance == nearest}
    return ABSENT if ABSENT in said else UNCERTAIN


def _in_scope(reading: Reading, cue: Mention, mention: Mention) -> bool:
    if cue.term.side == "before":
        start, end = cue.end, mention.start
        in_order = cue.start < mention.start
    else:
        start, end = mention.end, cue.start
        in_order = cue.start >= mention.end
    if cue.term.side not in ("before", "after") or not in_order or _clause(reading, cue) != _clause(reading, mention):
        return False
    if mention.term.role == "state" and cue.term.side == "before" and cue.term.says == ABSENT:
        return _negates_state(reading, cue, mention)
    between = range(start, end)
    if cue.term.reach == "phrase" and any(reading.tags[token] in ("comma", "and") for token in between):
        return False
    if cue.term.reach == "next" and _observations_between(reading, cue, mention):
        return False
    if cue.term.side == "after" and _is_about_another_side(reading, cue, mention):
        return False
    return not any(_is_with(reading, token) for token in between)


def _is_about_another_side(reading: Reading, cue: Mention, mention: Mention) -> bool:
    """ "Effusion is present on the right and absent on the left": the cue speaks of the left one only."""
    here = _sides(reading, range(mention.end, cue.start))
    there = _sides(reading, range(cue.end, len(reading.words)))
    return bool(here and there) and here != there


def _sides(reading: Reading, tokens: range) -> Words:
    return SIDES & frozenset().union(*(reading.locations[token].term for token in tokens if token in reading.locations))


def _negates_state(reading: Reading, cue: Mention, mention: Mention) -> bool:
    """A state is negated by the "not" in front of it; "no" in front of a list does not make the heart abnormal."""
    last = reading.words[cue.end - 1]
    near = mention.start - cue.end <= _STATE_GAP
    if set(mention.term.entities) <= set(NORMAL_ENTITIES):
        return near and (last == "not" or reading.words[cue.start] == "not")
    return near


def _is_with(reading: Reading, token: int) -> bool:
    return reading.words[token] == "with" and (token == 0 or reading.words[token - 1] not in _JOINED_TO_WITH)


def _is_alternative(reading: Reading, cue: Mention, mention: Mention) -> bool:
    """Whether the mention is one side of "atelectasis versus pneumonia"."""
    if mention.term.role != "finding":
        return False
    before = [item for item in reading.observations if item.end <= cue.start and _is_near(reading, item.end, cue.start)]
    after = [item for item in reading.observations if item.start >= cue.end and _is_near(reading, cue.end, item.start)]
    if not before or not after or before[-1].term.role != "finding" or after[0].term.role != "finding":
        return False
    sides = [item for item in before if item.end == before[-1].end] + [
        item for item in after if item.start == after[0].start
    ]
    return mention in sides


def _is_near(reading: Reading, start: int, end: int) -> bool:
    allowed = ("word", "location", "determiner")
    return end - start <= _NEAR and all(reading.tags[token] in allowed for token in range(start, end))


def _observations_between(reading: Reading, cue: Mention, mention: Mention) -> int:
    low, high = (cue.end, mention.start) if cue.start < mention.start else (mention.end, cue.start)
    return sum(low <= item.start and item.end <= high for item in reading.observations)


def _clause(reading: Reading, mention: Mention) -> int:
    return reading.clauses[mention.start]
