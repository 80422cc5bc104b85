"""Which structure a state keeps to itself: the left lung in "clear left lung and right effusion"."""

from __future__ import annotations

from report_parsing.anatomy.positions import OF_LUNG, SIDES, ZONES, Words, has_structure
from report_parsing.anatomy.runs import read_run
from report_parsing.lexicon.words import Mention, Reading
from report_parsing.vocabulary import NORMAL_ENTITIES

_SEPARATORS = ("and", "comma")
_IN_PHRASE = ("location", "word", "determiner")
_LUNG = "lung"
_OF_STRUCTURES = frozenset(NORMAL_ENTITIES) - {"stable"} | {"expand", "aerate"}  # no opacities are clear


def described_end(reading: Reading, state: Mention, start: int, finding: Mention) -> int | None:
    """Where the structure that a state describes ends, if a finding follows the locations from `start` on.

    Returns:
        The separator behind the structure; None where all of the locations belong to the finding, as in "stable right
        upper and left lower lobe opacities".
    """
    separators = [token for token in range(start, finding.start) if reading.tags[token] in _SEPARATORS]
    return separators[-1] if separators and _keeps(reading, state, start, separators[-1], finding) else None


def is_of_state(reading: Reading, separator: int, finding: Mention) -> bool:
    """Whether the locations in front of a separator are those of a state, and not of the finding behind it.

    A finding may stand there too: "hyperinflated lungs and left basilar scarring".
    """
    start = separator
    while start > 0 and reading.tags[start - 1] in _IN_PHRASE:
        start -= 1
    if start == 0 or reading.tags[start - 1] not in ("state", "finding"):
        return False
    described = next((item for item in reversed(reading.observations) if item.end == start), None)
    return described is not None and _keeps(reading, described, start, separator, finding)


def opens_phrase(reading: Reading, index: int) -> bool:
    """Whether a state begins a phrase with its own structure: "and clear right lung", not "and stable in the base"."""
    before, after = index - 1, index + 1
    while before >= 0 and reading.tags[before] in ("word", "state"):
        before -= 1
    while after < len(reading.tags) and reading.tags[after] in ("word", "state", "determiner"):
        after += 1
    follows = after < len(reading.tags) and reading.tags[after] == "location"
    return before >= 0 and reading.tags[before] in _SEPARATORS and follows


def _keeps(reading: Reading, state: Mention, start: int, separator: int, finding: Mention) -> bool:
    first = read_run(reading, start, separator).words
    if not first or not all(has_structure(words) for words in first):
        return False
    if state.term.role == "finding" or set(state.term.entities) & _OF_STRUCTURES:
        return True
    behind = read_run(reading, separator, finding.start).words
    if not behind and not finding.term.home and "aorta" in first[0]:
        return False  # "tortuous aorta and calcification"
    second = [words for words in behind if has_structure(words)]
    region = _region(second[0]) if second else (finding.term.home and _LUNG)
    return separator - 1 in reading.nouns or _region(first[0]) != region


def _region(words: Words) -> str:
    return _LUNG if words & (OF_LUNG | {"volumes"}) else min(words - SIDES - ZONES)
