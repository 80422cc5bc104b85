"""Findings that a sentence does not say again: "no effusion on the right, small on the left", "the left one".

They are written out before the sentence is read, so that all rules of the parser hold for them. What is written out
stands for the characters of the word beside it.

    quantity     No effusion on the right, small [effusion] on the left.
    predicate    Opacity resolved on the left but [opacity] persists on the right.
    shared       Left [effusion] but not right effusion.
    denied       Effusion on the left but not [effusion] on the right.
    exception    No opacity other than [opacity] in the lingula.
    comparison   Right effusion larger than left [effusion].
    one          A large right effusion and a small left one [effusion].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from report_parsing.anatomy.positions import OF_LUNG, SIDES, ZONES, has_structure
from report_parsing.lexicon.expansion import Use
from report_parsing.lexicon.words import Mention, Reading
from report_parsing.statements.assertion import ABSENT, sides_named

QUANTITIES = frozenset(
    {"small", "tiny", "trace", "minimal", "mild", "moderate", "large", "larger", "smaller", "massive", "huge", "big"}
    | {"slight", "subtle", "faint", "extensive", "severe", "little", "some", "new", "residual"}
)
_ONES = frozenset({"one", "ones"})
_BEFORE_ONE = QUANTITIES | {"another", "other", "second", "third", "similar", "the", "this", "that"}
_BEHIND_ONE = ("verb", "preposition", "partition", "comma", "stop")
_BUT = frozenset({"but", "yet", "though", "although", "however", "while", "whereas", ";"})
_NOT = frozenset({"not", "no"})
_EXCEPT = frozenset({"than", "except", "for", "from", "besides", "of"})  # the last words of "other than", "apart from"
_THAN = "than"
_NEAR_THAN = 3  # words from a comparative to its "than": "larger in size than"
_COMPARATIVES = frozenset({"more", "less", "worse", "better", "greater", "larger", "bigger", "smaller", "milder"})
_PLACES = SIDES | ZONES | OF_LUNG
_OF_FINDINGS = frozenset({"stable", "excluded_obs"})  # states that are said of findings: "unchanged on the left"
_TRIGGERS = _ONES | {"but", "not", "none", _THAN, "except", "besides", "apart", "aside", "exception"}
_SIDED = frozenset({"-", "sided", "side"})  # "left-sided"
_IN_PHRASE = ("location", "word", "determiner", "comma")
_LIGHT = frozenset({"only", "still", "now", "it", "they", "also", "there", "then", "again", "just"})
_SEPARATORS = ("comma", "and", "stop")
_LONGEST_FRAGMENT = 8  # words


def unsaid(line: str, reading: Reading) -> list[Use]:
    """What has to be written out in a line, in order."""
    findings = [item for item in reading.observations if item.term.role == "finding"]
    if not findings or not _may_leave_out(reading):
        return []
    edits: dict[int, Use] = {}
    for rule in (_ones, _shared, _comparisons, _exceptions, _segments):
        for token, text in rule(line, reading, findings):
            edits.setdefault(token, Use(*reading.spans[token], text))
    return sorted(edits.values())


def refers_back(reading: Reading) -> int | None:
    """The token behind which the finding of the sentence before has to be written, or that stands for it.

    "Small left one." and "Moderate on the right." go on about it.
    """
    first = next((item.start for item in reading.observations if item.term.role == "finding"), len(reading.words))
    one = next((token for token in _tokens_of_ones(reading) if token < first), None)
    if one is not None or reading.observations or len(reading.words) > _LONGEST_FRAGMENT:
        return one
    last = _last_quantity(reading, 0)
    rest = {tag for tag, word in zip(reading.tags, reading.words, strict=True) if word not in QUANTITIES}
    goes_on = _is_elsewhere(reading, range(len(reading.words)))
    return last if goes_on and rest <= {"location", "preposition", "determiner", "stop"} else None


def is_one(word: str) -> bool:
    """Whether a word stands for a finding."""
    return word.lower() in _ONES


def last_finding(line: str, reading: Reading) -> str:
    """The words of the last finding of a line; empty where there is none."""
    found = [item for item in reading.observations if item.term.role == "finding"]
    return _text(line, reading, found[-1].start, found[-1].end) if found else ""


def _may_leave_out(reading: Reading) -> bool:
    """Whether a word tells of it, or two places are named; most sentences need no second look."""
    if not _TRIGGERS.isdisjoint(reading.words):
        return True
    return len({mention.start for mention in reading.locations.values() if mention.term & SIDES}) > 1


def _ones(line: str, reading: Reading, findings: Sequence[Mention]) -> Iterator[tuple[int, str]]:
    for token in _tokens_of_ones(reading):
        before = [item for item in findings if item.end <= token]
        if before:
            yield token, _named(line, reading, before[-1])


def _tokens_of_ones(reading: Reading) -> Iterator[int]:
    for token, word in enumerate(reading.words):
        if word not in _ONES or not token:
            continue
        behind = token + 1
        tag, following = ("stop", "") if behind == len(reading.tags) else (reading.tags[behind], reading.words[behind])
        is_noun = tag in _BEHIND_ONE or following == "and" or any(cue.start == behind for cue in reading.cues)
        before = reading.words[token - 1]
        is_said_of = reading.tags[token - 1] == "location" or before in _BEFORE_ONE or token - 1 in reading.affirms
        if is_noun and is_said_of and following != "of":
            yield token


def _shared(line: str, reading: Reading, findings: Sequence[Mention]) -> Iterator[tuple[int, str]]:
    """The first of two places of a finding that only the second names: "left but not right effusion"."""
    for token, word in enumerate(reading.words):
        if word not in ("but", "and") or not token:
            continue
        place = token - 1 - (reading.tags[token - 1] == "comma")
        behind = token + 1
        denies = behind < len(reading.words) and reading.words[behind] in _NOT
        start = _start_of_clause(reading, token)
        denied = any(reading.words[index] in _NOT for index in range(start, place))
        finding = next((item for item in findings if item.start > token), None)
        if finding is None or not (denies or (denied and word == "but")) or not _is_sided_place(reading, place):
            continue
        between = range(behind + denies, finding.start)
        is_one_phrase = all(reading.tags[index] in _IN_PHRASE for index in between)
        is_named = any(start <= item.start < token for item in findings)
        if is_one_phrase and not is_named and any(_is_sided(reading, index) for index in between):
            shared = _text(line, reading, _start_of_shared(reading, place, between), finding.end)
            yield place, f"{_text(line, reading, place, place + 1)} {shared}"
            yield from ((index, "") for index in between if reading.tags[index] == "comma")


def _start_of_shared(reading: Reading, place: int, other: range) -> int:
    """The first token that two places share: "basilar" of "right but not left basilar atelectasis"."""
    said = reading.locations[place].term if place in reading.locations else SIDES
    if has_structure(said):
        return other.stop
    apart = SIDES | ZONES if said & ZONES else SIDES
    sided = next(index for index in other if _is_sided(reading, index))
    named = (index for index in other if index > sided and reading.tags[index] == "location")
    shared = (index for index in named if reading.locations[index].term - apart and reading.words[index] not in apart)
    return next(shared, other.stop)


def _comparisons(line: str, reading: Reading, findings: Sequence[Mention]) -> Iterator[tuple[int, str]]:
    """The side that a finding is compared with: "right effusion larger than left"."""
    for token, word in enumerate(reading.words):
        if word != _THAN or token in reading.locations or _COMPARATIVES.isdisjoint(_words_near(reading, token)):
            continue
        before = [item for item in findings if item.end <= token]
        start = _start_of_clause(reading, token)
        place = token + 1
        while place < len(reading.tags) and reading.tags[place] in ("determiner", "preposition"):
            place += 1
        end = place
        while end < len(reading.tags) and (reading.tags[end] == "location" or reading.words[end] in _SIDED):
            end += 1
        sides = sides_named(reading, range(start, token))
        other = sides_named(reading, range(place, end))
        if not before or before[-1].start < start or not other or not sides or other & sides:
            continue
        if end == len(reading.tags) or reading.tags[end] in _SEPARATORS:
            finding = _named(line, reading, before[-1])
            prepositions = [index for index in range(token + 1, place) if reading.tags[index] == "preposition"]
            at = prepositions[0] if prepositions else end - 1
            said = _text(line, reading, at, at + 1)
            yield at, f"{finding} {said}" if prepositions else f"{said} {finding}"


def _exceptions(line: str, reading: Reading, findings: Sequence[Mention]) -> Iterator[tuple[int, str]]:
    """The place that a denial does not hold for: "no opacity other than in the lingula"."""
    for token, word in enumerate(reading.words):
        if word not in _EXCEPT or reading.tags[token] != "stop" or reading.tags[token + 1 : token + 2] == ["stop"]:
            continue
        before = [item for item in findings if item.end <= token]
        end = _end_of_segment(reading, token + 1)
        segment = range(token + 1, end)
        if not before or not _is_denied(reading, before[-1]) or _says_something(reading, segment):
            continue
        places = [index for index in segment if index in reading.locations]
        if not places or not _ONES.isdisjoint(reading.words[token + 1 : end]):
            continue
        finding = _named(line, reading, before[-1])
        lead = next((index for index in segment if reading.tags[index] == "preposition" and index < places[0]), None)
        at = places[-1] if lead is None else lead
        said = _text(line, reading, at, at + 1)
        yield at, f"{said} {finding}" if lead is None else f"{finding} {said}"


def _segments(line: str, reading: Reading, findings: Sequence[Mention]) -> Iterator[tuple[int, str]]:
    """Segments that say how much of the finding before, or what of it, is on another side."""
    words = zip(reading.tags, reading.words, strict=True)
    separators = [token for token, (tag, word) in enumerate(words) if tag in _SEPARATORS or word == "with"]
    for token in separators:
        start = token + 1
        end = _end_of_segment(reading, start)
        before = [item for item in findings if item.end <= token]
        segment = range(start, end)
        if reading.words[token] in _EXCEPT:
            continue
        if not before or not segment or _says_something(reading, segment) or not _is_elsewhere(reading, segment):
            continue
        first = next((index for index in segment if not _is_light(reading, index)), start)
        is_but = not _BUT.isdisjoint(reading.words[_first_separator(reading, token) : start])
        edit = _complete(line, reading, before[-1], first, is_but=is_but)
        if edit is not None:
            yield edit
            if reading.tags[token] != "stop":
                yield token, ";"


def _complete(line: str, reading: Reading, finding: Mention, first: int, *, is_but: bool) -> tuple[int, str] | None:
    """What a segment that begins at a token is written as, if it speaks of the finding."""
    name, word = _named(line, reading, finding), reading.words[first]
    quantity = _last_quantity(reading, first)
    if word == "none":
        return first, f"no {name}"
    says = {cue.term.says for cue in reading.cues if cue.start == first and cue.term.side == "after"}
    if word in _NOT and not says:
        return first, f"{word} {name}"
    denied = _is_denied(reading, finding)
    if quantity is not None:
        return (quantity, f"{reading.words[quantity]} {name}") if denied or is_but else None
    is_place = reading.tags[first] in ("preposition", "location")
    if is_place and not (denied and is_but):
        return None
    is_predicate = bool(says) or reading.tags[first] in ("verb", "state") or first in reading.asserts or word == "new"
    if not is_place and not is_predicate:
        return None
    if not is_but and (ABSENT in says or not denied):
        return None
    return first, f"{name} {_text(line, reading, first, first + 1)}"


def _is_denied(reading: Reading, finding: Mention) -> bool:
    """Whether the words around a finding say that it is not there, or no longer."""
    start, end = _start_of_clause(reading, finding.start), _end_of_segment(reading, finding.end)
    return any(
        cue.term.says == ABSENT
        and ((cue.term.side == "before" and start <= cue.start < finding.start) or finding.end <= cue.start < end)
        for cue in reading.cues
    )


def _says_something(reading: Reading, segment: range) -> bool:
    """Whether a segment names a finding, or a state of a structure."""
    return any(
        item.start in segment and not (item.term.role == "state" and _OF_FINDINGS.issuperset(item.term.entities))
        for item in reading.observations
    )


def _is_elsewhere(reading: Reading, segment: range) -> bool:
    """Whether a segment names a side, and no structure but of the lung or pleura."""
    places = [reading.locations[token].term for token in segment if token in reading.locations]
    return any(place & SIDES for place in places) and all(place <= _PLACES for place in places)


def _is_light(reading: Reading, token: int) -> bool:
    word, tag = reading.words[token], reading.tags[token]
    return word in _LIGHT or tag == "determiner" or (tag == "word" and word.endswith("ly"))


def _last_quantity(reading: Reading, first: int) -> int | None:
    """The last of the quantities that stand at a token: "small" of "very small left"."""
    token = first
    while token < len(reading.words) and (reading.words[token] in QUANTITIES or _is_light(reading, token)):
        token += 1
    return next((index for index in range(token - 1, first - 1, -1) if reading.words[index] in QUANTITIES), None)


def _is_sided(reading: Reading, token: int) -> bool:
    return token in reading.locations and bool(reading.locations[token].term & SIDES)


def _is_sided_place(reading: Reading, last: int) -> bool:
    """Whether the words of a place that end at a token name a side."""
    while last >= 0 and (last in reading.locations or reading.words[last] in _SIDED):
        if _is_sided(reading, last):
            return True
        last -= 1
    return False


def _words_near(reading: Reading, token: int) -> list[str]:
    return reading.words[max(0, token - _NEAR_THAN) : token]


def _start_of_clause(reading: Reading, token: int) -> int:
    return max((index + 1 for index in range(token) if reading.tags[index] == "stop"), default=0)


def _first_separator(reading: Reading, token: int) -> int:
    while token and reading.tags[token - 1] in _SEPARATORS:
        token -= 1
    return token


def _end_of_segment(reading: Reading, start: int) -> int:
    end = len(reading.tags)
    return next((index for index in range(start, end) if reading.tags[index] in _SEPARATORS), end)


def _named(line: str, reading: Reading, mention: Mention) -> str:
    return _text(line, reading, mention.start, mention.end)


def _text(line: str, reading: Reading, start: int, end: int) -> str:
    """Characters of the line from one token to another."""
    return line[reading.spans[start][0] : reading.spans[end - 1][1]]
