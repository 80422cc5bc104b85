"""Sentences of a section, as spans of the report; lists, decimals, abbreviations and line ends are handled.

A sentence ends at a full stop that does not belong to a word (`data/sentence_words.csv`) or a number, at an empty line,
before the next item of a list, and where a writer who set no full stop began a new line: the line is short, and the
next one begins with a capital. White space is read as report_parsing.sections.layout has it.
"""

from __future__ import annotations

import re
import string

from report_parsing.language.readable import is_plain, readable
from report_parsing.sections.deidentification import has_words
from report_parsing.sections.headings import words_of
from report_parsing.sections.layout import Span, is_short, plain, trim

# The first character is looked for, the branches say what it is: ten times faster than branches alone.
_END = re.compile(
    r"""
    [.!?…\n•●▪◦‣(\d]
    (?: (?<=[.!?…]) (?<![.!?…].) (?P<stop> [.!?…]*+ ["'”’)\]]*+ (?=[ \n]|\Z) )
      | (?<=\.) (?P<glued>                            # no blank behind the full stop
            (?<=[a-z0-9%)\]_].) (?=[A-Z][a-z])        #   effusion.The
          | (?<=[A-Z][A-Z].) (?=[A-Z][a-z])           #   PICC.The
          | (?<=[A-Z]{4}.) (?=[A-Z]{2})               #   EFFUSION.THE
          | (?<=[a-z]{4}.) (?=[a-z]{2})               #   effusion.the
          | (?<=[a-z].) (?=\d{1,2}[.)](?:\ |[A-Z])) )  #   effusion.2. The
      | (?<=\n) (?P<line> [ \n]*+ )
      | (?<=[•●▪◦‣]) (?P<bullet> )
      | (?<=[(\d]) (?<![^ \n].) (?P<item> (?: (?<=\() \d{1,2} | (?<=\d) \d? ) [.)] (?=[ \n]|[A-Z]) )
    )""",
    re.VERBOSE | re.DOTALL,
)
_MARKER = re.compile(r"[ \n]*+(?:[#(]?(\d{1,2})[.)](?=[ \n]|[A-Z])|[-–*•●▪◦‣](?=[ \n]|[A-Z]))[ \n]*+")
_ANSWERS = re.compile(
    r"[ \n]+(?:none|no|nil|yes|absent|present|negative|positive)(?:[ ]*\n|[ \n]*(?:[.;,]|\Z))", re.IGNORECASE
)
_LEADERS = frozenset({"…", *("." * length for length in range(2, 60))})
_QUESTION = re.compile(r"(?:is|are|was|were|does|do|has|have|any|could|can)\b", re.IGNORECASE)
_NEXT = re.compile(r"[ \n]*+(.)", re.DOTALL)
_BEGINS_WORD = frozenset(string.ascii_letters) - frozenset("Xx")  # x may begin a removed name
_LONGEST = 24  # characters; what is longer is no abbreviation
_DOTTED = re.compile(r"(?:[a-z]\.)+[a-z]")  # a.m, p.m, u.s


def split_sentences(report: str, start: int, end: int) -> list[Span]:
    """Spans of the sentences of `report[start:end]`, without list markers, each with a word in it."""
    start, end = trim(report, start, end)
    text = report[start:end]
    moved = False
    if not is_plain(text):
        read = readable(text)
        text, moved = plain(read.text), read.starts is not None
    words = text.replace("\n", " ")
    spans: list[Span] = []

    def add(begin: int, end: int) -> None:
        sentence = text[begin:end].rstrip()
        if sentence[:1] in _BEGINS_WORD or has_words(sentence):
            end = begin + len(sentence)
            if moved:
                begin, end = read.span(begin, end)
            spans.append((start + begin, start + end))

    begin, number = _skip_marker(text, 0, 0)
    for match in _END.finditer(text):
        if match.start() < begin:
            continue
        cut = _cut(text, words, begin, match, number)
        if cut is not None:
            add(begin, cut[0])
            begin, number = _skip_marker(text, cut[1], number)
    add(begin, len(text))
    return spans


def _cut(text: str, words: str, begin: int, match: re.Match[str], number: int) -> Span | None:
    """Where the sentence ends and the next one begins, or None when it goes on."""
    if match.lastgroup == "stop":
        if match[0] == "?" and (_doubts(text, begin, match.start()) or _is_answered(text, begin, match)):
            return None  # "opacity ? pneumonia", "Pneumothorax? None."
        if match[0] in _LEADERS and _is_answered(text, begin, match):
            return None  # "Pneumothorax... None."
        return (match.end(), match.end()) if _stops(text, _word_before(words, begin, match.start()), match) else None
    if match.lastgroup == "glued":
        never = _word_before(words, begin, match.start()) in words_of("never")
        return None if never else (match.end(), match.end())
    if match.lastgroup == "line":
        return (match.start(), match.end()) if _ends_line(text, begin, match, number) else None
    if match.lastgroup == "item" and not _is_item(text, match, number):
        goes_on = match[0][-1] == ")" or _next(text, match.end()).isdigit()  # "(2)"; "2. 5 cm"
        return None if goes_on else (match.end(), match.end())
    return match.start(), match.start()


def _stops(text: str, word: str, match: re.Match[str]) -> bool:
    """Whether a full stop behind this word ends the sentence."""
    following = _next(text, match.end())
    if match[0] != ".":
        return not following.islower() or match[0] in ("..", "!", "?")
    if word in words_of("never"):
        return not following
    if "." in word and _DOTTED.fullmatch(word):
        return not following or following.isupper()
    if word in words_of("middle"):
        return not (following.islower() or following.isdigit())
    return not (word in words_of("number") and following.isdigit())


def _doubts(text: str, begin: int, mark: int) -> bool:
    """Whether a question mark that stands alone is about the words behind it: "opacity ? pneumonia"."""
    following = _next(text, mark + 1)
    if not following or (mark > begin and text[mark - 1] not in " \n("):
        return False
    end = mark
    while end > begin and text[end - 1] in " \n":
        end -= 1
    return following.islower() or end == begin or text[end - 1] == "(" or text[end - 1].isupper()


def _is_answered(text: str, begin: int, match: re.Match[str]) -> bool:
    """Whether the one word behind a question mark belongs to the words in front: a line of a template, no question."""
    return bool(_ANSWERS.match(text, match.end())) and not _QUESTION.match(text, begin)


def _ends_line(text: str, begin: int, match: re.Match[str], number: int) -> bool:
    """Whether a sentence ends at this line end: an empty line follows, an item, or a line that begins anew."""
    if match[0].count("\n") > 1:
        return True
    line = text[text.rfind("\n", begin, match.start()) + 1 or begin : match.start()].rstrip()
    marker = _MARKER.match(text, match.end())
    if marker:
        return marker[1] is None or int(marker[1]) in (1, number + 1) or line[-1:] in (".", ";", ":")
    if not text[match.end() : match.end() + 1].isupper() or not line or line[-1] in ",:-/(&":
        return False
    return is_short(line) and line[line.rfind(" ") + 1 :].lower() not in words_of("leads")


def _is_item(text: str, match: re.Match[str], number: int) -> bool:
    """Whether a number within a line begins a list behind a colon, or is the next one of the list."""
    before = match.start()
    while before and text[before - 1] in " \n":
        before -= 1
    if text[before - 1 : before] in (";", ":"):
        return True
    if int(match[0].strip("(.)")) != number + 1 or not number:
        return False
    return text[before - 1 : before] == "," or _next(text, match.end()).isupper()


def _word_before(words: str, begin: int, stop: int) -> str:
    """The word that a full stop stands behind, in lower case."""
    word = words[max(begin, stop - _LONGEST) : stop]
    return word[word.rfind(" ") + 1 :].lstrip("([\"'").lower()


def _next(text: str, start: int) -> str:
    """The next character that is not white space; empty at the end."""
    if text[start : start + 1] == " " and (following := text[start + 1 : start + 2]) not in ("", " ", "\n"):
        return following
    match = _NEXT.match(text, start)
    return match[1] if match else ""


def _skip_marker(text: str, start: int, number: int) -> tuple[int, int]:
    """Where the words of a sentence begin behind the marker of a list, and the number of the last item."""
    if text[start : start + 1] == " " and text[start + 1 : start + 2].isalpha():
        return start + 1, number
    words = _NEXT.match(text, start)
    if words is None or words[1].isalpha():
        return words.start(1) if words else len(text), number
    marker = _MARKER.match(text, start)
    if marker is None or marker.end() == len(text):
        return words.start(1), number
    return marker.end(), int(marker[1] or number)
