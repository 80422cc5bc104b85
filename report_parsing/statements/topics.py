"""Lines of a template, "Pneumothorax: None.": which words are the subject that a colon or dash leads to an answer from.

A subject is a finding or an anatomic location and nothing else. What follows a sentence ("Small left effusion - no
pneumothorax") is a statement of its own.
"""

from __future__ import annotations

from report_parsing.anatomy.positions import has_structure
from report_parsing.lexicon.words import Mention, Reading, Topic

ANSWER = "answer"  # tag of the separator
_SEPARATORS = frozenset({":", "-", "–", "—", "=", "?", "|"})
_DASHES = frozenset("-–—")
_LEADERS = frozenset({".", "…"})  # several full stops, or one mark of them: "Effusion ..... none"
_ANSWERS = frozenset({"none", "no", "nil", "yes", "absent", "present", "negative", "positive"})  # to a question mark
_OF_SUBJECT = ("finding", "location", "word", "determiner", "and", "comma", "preposition")
_NAMES = ("finding", "location")
_TIP = ("tip",)  # "Central line: tip in the SVC" says where the line is


def mark_topics(reading: Reading) -> None:
    """Find the topics of a sentence; their separators become tags of their own, so that no clause ends there."""
    if _SEPARATORS.isdisjoint(reading.words) and reading.words.count(".") < len("..") and "…" not in reading.words:
        return
    heard = {token for cue in reading.cues for token in range(cue.start, cue.end)}
    for index, word in enumerate(reading.words):
        if word in _DASHES and index and reading.tags[index - 1] == ANSWER and reading.words[index - 1] != word:
            reading.tags[index] = ANSWER  # "Effusion: -"
        elif (word in _SEPARATORS and _separates(reading, index)) or _is_leader(reading, index):
            topic = _find_topic(reading, index, heard)
            if topic is not None:
                reading.topics.append(topic)
                first = _first_mark(reading, index)
                reading.tags[first : index + 1] = [ANSWER] * (index + 1 - first)
                reading.cues = [cue for cue in reading.cues if cue.start != index]  # "Effusion? Yes." is no doubt
            elif word == "-" and _is_dash(reading, index):
                reading.tags[index] = "stop"


def _separates(reading: Reading, index: int) -> bool:
    """Whether a mark stands between a subject and an answer, not in "10:30", "right-sided" or "--" at the end."""
    if index == 0 or index + 1 == len(reading.words):
        return False
    before, after = reading.words[index - 1], reading.words[index + 1]
    if reading.words[index] == "?":
        return after in _ANSWERS
    if reading.words[index] == "-":
        return reading.spans[index + 1][0] > reading.spans[index][1]
    return not (reading.words[index] == ":" and before[-1].isdigit() and after[0].isdigit())


def _is_leader(reading: Reading, index: int) -> bool:
    """Whether the last full stop of several leads to an answer that denies or doubts, not to another sentence.

    Behind another answer any is one: "Effusion ... none, edema ... mild".
    """
    if index == 0:
        return False
    before, word, *behind = reading.words[index - 1 : index + 2]
    if word not in _LEADERS or (word == "." and before != ".") or not behind or behind[0] in _LEADERS:
        return False
    return bool(reading.topics) or any(
        cue.start == index + 1 and cue.term.says != "present" for cue in (*reading.answers, *reading.cues)
    )


def _first_mark(reading: Reading, separator: int) -> int:
    """The first of the marks of a separator: "--" are two."""
    marks = ("-", ".")
    while separator > 0 and reading.words[separator - 1] == reading.words[separator] in marks:
        separator -= 1
    return separator


def _is_dash(reading: Reading, index: int) -> bool:
    """Whether a hyphen stands between two blanks and not in "5 - 10 mm"."""
    is_apart = reading.spans[index][0] > reading.spans[index - 1][1]
    return is_apart and not reading.words[index - 1][-1].isdigit()


def _find_topic(reading: Reading, separator: int, heard: set[int]) -> Topic | None:
    start = _find_start(reading, separator, heard)
    subject = range(start, separator)
    named = {reading.tags[token] for token in subject}
    if named.isdisjoint(_NAMES):
        return None
    if "finding" not in named:
        is_place = "word" not in {reading.tags[token] for token in subject} or any(
            token in reading.locations and has_structure(reading.locations[token].term) for token in subject
        )
        return Topic(start, separator) if is_place else None  # not "Left knee"
    if any(token in reading.affirms or reading.words[token].isdigit() for token in subject):
        return None  # "Small left effusion - ..." has said what it says
    return Topic(start, separator) if _is_answered(reading, subject, separator) else None


def _find_start(reading: Reading, separator: int, heard: set[int]) -> int:
    """The first word of the subject; the separator itself where there is none."""
    start = _first_mark(reading, separator)
    while start > 0 and reading.tags[start - 1] in _OF_SUBJECT and start - 1 not in heard:
        start -= 1
    in_front = reading.tags[start - 1] if start else "stop"
    commas = [token for token in range(start, separator) if reading.tags[token] == "comma"]
    if in_front == "stop":
        return start
    if commas:  # "Edema: mild, effusion: none"
        return commas[-1] + 1
    if not reading.topics or reading.topics[-1].separator < _last_stop(reading, start):
        return separator  # the end of a sentence: "There is an effusion - no pneumothorax"
    if in_front != ANSWER:
        return start  # "Edema: none effusion: small"
    while start < separator and reading.tags[start] not in _NAMES:
        start += 1
    return start


def _last_stop(reading: Reading, end: int) -> int:
    return max((token for token in range(end) if reading.tags[token] == "stop"), default=-1)


def _is_answered(reading: Reading, subject: range, separator: int) -> bool:
    """Whether the words behind the separator speak of the finding in front; what they repeat is no longer its own.

    "Effusion: no effusion" and "Infection: no consolidation" say nothing of their own about the words in front.
    """
    end = next((token for token in range(separator + 1, len(reading.tags)) if reading.tags[token] == "stop"), None)
    answer = [item for item in reading.observations if separator < item.start and (end is None or item.start < end)]
    answer = [item for item in answer if item.term.role == "finding" and item.term.entities != _TIP]
    asked = [item for item in reading.observations if item.start in subject]
    if not answer or _starts_next(reading, answer[0]):
        return True
    repeats = any(set(first.term.entities) & set(second.term.entities) for first in asked for second in answer)
    denied = any(cue.start == separator + 1 and cue.term.says == "absent" for cue in reading.cues)
    if repeats or (denied and reading.words[separator] == ":"):
        reading.observations = [item for item in reading.observations if item not in asked]
    return False


def _starts_next(reading: Reading, mention: Mention) -> bool:
    """Whether a finding is the subject of the next colon: "effusion: none, pneumothorax: none"."""
    token = mention.end
    while token < len(reading.tags) and reading.tags[token] in _OF_SUBJECT and reading.words[token] not in _SEPARATORS:
        token += 1
    if token >= len(reading.tags) - 1:
        return False
    if reading.words[token] in _LEADERS:  # "effusion ... none, pneumothorax ... none"
        return reading.words[token] == "…" or reading.words[token + 1] == "."
    return reading.words[token] in _SEPARATORS and _separates(reading, token)
