"""Sentences that go on about the finding before: "Opacity at the left base. This may represent pneumonia."."""

from __future__ import annotations

from report_parsing.lexicon.words import Mention, Observation, Reading

_PRONOUNS = frozenset({"it", "this", "they", "these"})
_OPENS_PREDICATE = frozenset(
    {"most", "likely", "probably", "possibly", "also", "again", "now", "xxxx", "___", "involves", "involve"}
)
_JUDGED = frozenset(  # "it is difficult to ..." speaks of nothing
    {"difficult", "hard", "impossible", "possible", "conceivable", "likely", "unlikely", "unclear", "uncertain"}
    | {"advised", "recommended", "suggested", "noted", "important", "necessary", "helpful", "useful"}
)
_ASIDE = frozenset({"to", "that", "if", "whether", "how"})
_SHORTEST = 2  # words: "it is"
_REFERENCE = Observation((), "finding", "", frozenset())


def add_reference(reading: Reading) -> bool:
    """Take a pronoun that is the subject of a sentence for a finding; whether there is one."""
    if len(reading.words) < _SHORTEST or reading.words[0] not in _PRONOUNS or not _is_subject(reading):
        return False
    reading.observations.insert(0, Mention(0, 1, _REFERENCE))
    reading.tags[0] = "finding"
    return True


def _is_subject(reading: Reading) -> bool:
    if reading.tags[1] != "verb" and reading.words[1] not in _OPENS_PREDICATE:
        return False
    words = reading.words
    return not any(words[index] in _JUDGED and words[index + 1] in _ASIDE for index in range(len(words) - 1))
