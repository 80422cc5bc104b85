"""Whether an observation is present, absent or uncertain, by cues and their scope (after NegEx and ConText)."""

from __future__ import annotations

from itertools import pairwise

from report_parsing.anatomy.positions import SIDES, Words
from report_parsing.lexicon.words import Mention, Reading
from report_parsing.statements.topics import ANSWER
from report_parsing.vocabulary import DEVICE_ENTITIES, NORMAL_ENTITIES

PRESENT, ABSENT, UNCERTAIN = "present", "absent", "uncertain"

_UNEXCLUDED = "unexcluded"  # doubt that a negation in front does not take away
_ANSWER_GAP = 3  # words from a colon to the end of "there is no"
_NEAR = 4  # tokens between an alternative and its "or"
_JOINED_TO_WITH = frozenset({"consistent", "compatible", "keeping", "associated", "concerning"})
_LIKELY = frozenset(
    {"likely", "probable", "probably", "consistent", "compatible", "suggestive", "typical", "characteristic"}
)
_DASHES = frozenset("-–—")
_STATE_GAP = 2  # "not definitely enlarged"


def assertion_of(reading: Reading, mention: Mention) -> str:
    """What the cues in scope say; the cue with the fewest observations in between decides, and absence wins a tie.

    Behind the colon of a template the first cue decides ("Pneumothorax: none, ...").
    """
    if not reading.cues and not reading.topics:
        return PRESENT
    answer = _answer(reading, mention) if reading.topics else ""
    if answer:
        return answer
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
    return ABSENT if ABSENT in said and _UNEXCLUDED not in said else UNCERTAIN


def _answer(reading: Reading, mention: Mention) -> str:
    """What the answer behind a topic says of the finding in it; empty where it opens with something else."""
    separator = next((item.separator for item in reading.topics if item.start <= mention.start < item.separator), None)
    if separator is None:
        return ""
    token = separator + 1
    while token < len(reading.tags) and token - separator <= _ANSWER_GAP:
        cues = [cue for cue in (*reading.answers, *reading.cues) if cue.start == token and _may_deny(cue, mention)]
        if reading.words[token] in _DASHES and not _is_last(reading, token):
            cues = []
        if cues:
            says = max(cues, key=lambda cue: cue.end).term.says
            return UNCERTAIN if says == _UNEXCLUDED else str(says)
        if reading.tags[token] not in ("word", "determiner", "verb", ANSWER):
            break
        token += 1
    return ""


def _is_last(reading: Reading, token: int) -> bool:
    """Whether an answer ends with a token, and the token is no mark in front of it: "effusion: - edema: small"."""
    behind = token + 1
    if behind == len(reading.tags) or reading.tags[behind] in ("stop", "comma") or reading.words[behind] == "|":
        return True
    return any(topic.start == behind for topic in reading.topics)


def _may_deny(cue: Mention, mention: Mention) -> bool:
    """Whether the cue speaks of such a thing at all: a device is removed, and is not absent because it is normal."""
    is_device = not DEVICE_ENTITIES.isdisjoint(mention.term.entities)
    return not (cue.term.reach == "device" and not is_device) and not (cue.term.reach == "finding" and is_device)


def _in_scope(reading: Reading, cue: Mention, mention: Mention) -> bool:
    if cue.term.side == "before":
        start, end = cue.end, mention.start
        in_order = cue.start < mention.start
    else:
        start, end = mention.end, cue.start
        in_order = cue.start >= mention.end
    if cue.term.side not in ("before", "after") or not in_order or _clause(reading, cue) != _clause(reading, mention):
        return False
    if not _may_deny(cue, mention):
        return False
    if mention.term.role == "state" and cue.term.side == "before" and cue.term.says == ABSENT:
        return _negates_state(reading, cue, mention)
    if cue.term.reach == "favored" and not any(token < cue.start for token in reading.favors):
        return False
    if cue.term.reach == "likelier" and not _is_likelier(reading, cue.start):
        return False
    between = range(start, end)
    if cue.term.reach == "phrase" and any(reading.tags[token] in ("comma", "and") for token in between):
        return False
    if cue.term.reach in ("next", "finding") and _observations_between(reading, cue, mention):
        return False
    if cue.term.side == "after" and (_is_about_another_side(reading, cue, mention) or _is_attribute(reading, cue)):
        return False
    if cue.term.side == "before" and _is_about_study(reading, cue, mention):
        return False
    return not any(_ends_scope(reading, token) for token in between)


def _is_likelier(reading: Reading, than: int) -> bool:
    """Whether something is judged likelier in front of a "than": "more likely edema than pneumonia"."""
    words = pairwise(reading.words[:than])
    return any(word == "likelier" or (word == "more" and behind in _LIKELY) for word, behind in words)


def _is_attribute(reading: Reading, cue: Mention) -> bool:
    """Whether a word that is a cue on either side stands in front of its noun: "effusion and possible nodule"."""
    if not any(other.start == cue.start and other.term.side == "before" for other in reading.cues):
        return False
    token = cue.end
    while token < len(reading.tags) and reading.tags[token] in ("word", "location", "determiner"):
        token += 1
    return token < len(reading.tags) and reading.tags[token] in ("finding", "state")


def _is_about_study(reading: Reading, cue: Mention, mention: Mention) -> bool:
    """ "Without a comparison study, the fracture ...": no film is missing a fracture."""
    return bool(reading.studies) and any(
        cue.end <= token < mention.start and not any(cue.end <= item.start < token for item in reading.observations)
        for token in reading.studies
    )


def _is_about_another_side(reading: Reading, cue: Mention, mention: Mention) -> bool:
    """ "Effusion is present on the right and absent on the left": the cue speaks of the left one only."""
    here = sides_named(reading, range(mention.end, cue.start))
    there = sides_named(reading, range(cue.end, len(reading.words)))
    return bool(here and there) and here != there


def sides_named(reading: Reading, tokens: range) -> Words:
    """The sides that the places at `tokens` name."""
    return SIDES & frozenset().union(*(reading.locations[token].term for token in tokens if token in reading.locations))


def _negates_state(reading: Reading, cue: Mention, mention: Mention) -> bool:
    """A state is negated by the "not" in front of it; "no" in front of a list does not make the heart abnormal."""
    last = reading.words[cue.end - 1]
    near = mention.start - cue.end <= _STATE_GAP
    if set(mention.term.entities) <= set(NORMAL_ENTITIES):
        return near and (last == "not" or reading.words[cue.start] == "not")
    return near


def _ends_scope(reading: Reading, token: int) -> bool:
    """Whether a cue is not heard across this word: "no edema with a small effusion", "no edema after placement"."""
    if reading.tags[token] == "circumstance":
        return True
    before = token - 1
    if reading.words[token] == "post":
        return before >= 0 and reading.tags[before] == "finding"
    return reading.words[token] == "with" and (before < 0 or reading.words[before] not in _JOINED_TO_WITH)


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
