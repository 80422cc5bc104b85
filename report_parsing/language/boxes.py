"""Boxes to tick in the text of a report, read as the words that they stand for.

[ ] Pneumothorax  [x] Edema            No Pneumothorax.  Edema
Effusion: [ ] yes [x] no               Effusion: no
Effusion: [ ] none [x] small [ ] large Effusion: small
Edema [ ]  Effusion [x]                Edema: no.  Effusion: yes

An item that denies something itself, or says that something is normal, says nothing where it is not ticked. Of choices
that are all open, one of which denies, nothing is known: "Effusion: ?".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_BOX = re.compile(
    r"""(?P<open> \[[ ]{0,3}\] | [☐⬜◻❏] | (?P<round>\([ ]{1,3}\)) )
      | (?P<ticked> \[[ ]?[xX✓✔√*][ ]?\] | [☑☒✅⊠] | (?P<cross>\([ ]?[xX✓✔][ ]?\)) )""",
    re.VERBOSE,
)
_LINE = re.compile(r"[^\n]+")
_LEADS = re.compile(r"(?:[:=?]|\w[ ]+[-–—])[ ]*\Z")
_MARKER = re.compile(r"[ ]*(?:[-–*•●▪◦‣]|\d{1,2}[.)])?[ ]*\Z")
_SENTENCE = re.compile(r"[.!;][ ]*\Z")
_DENIES = re.compile(
    r"\b(?:n|no|none|not|nil|absent|negative|without|normal|clear|unremarkable|intact)\b", re.IGNORECASE
)
_CHOICE = re.compile(
    r"(?:y|n|yes|no|none|nil|present|absent|positive|negative|normal|abnormal|small|mild|moderate|large|severe|left|right"
    r"|bilateral|both|unilateral|unknown|n/?a)\b",
    re.IGNORECASE,
)
_LETTERS = {"y": "yes", "n": "no"}
_NEAR = 4  # characters from a colon to its box
_LOOSE = " \t,;|/"  # between one choice and the next

Change = tuple[int, int, str]  # characters of the text, and what is read instead


def may_hold_boxes(text: str) -> bool:
    """Whether a look is worth it."""
    return "[" in text or "( )" in text or "(x)" in text or "(X)" in text or not text.isascii()


def read_boxes(text: str) -> Iterator[Change]:
    """What is read in place of boxes, and of the choices that are not taken; in order, without overlaps."""
    if not may_hold_boxes(text):
        return
    unfinished = False  # whether a word that is read ends the line before
    for line in _LINE.finditer(text) if _BOX.search(text) else ():
        boxes = _boxes_of(text, *line.span())
        changes = list(_read_line(text, *line.span(), boxes, unfinished=unfinished)) if boxes else []
        yield from changes
        end = line.start() + len(line[0].rstrip())
        if end > line.start():
            unfinished = text[end - 1].isalnum() and not (changes and changes[-1][1] == end)


def _boxes_of(text: str, start: int, end: int) -> list[re.Match[str]]:
    """The boxes of a line; round brackets are some where the line begins with one, or one is ticked behind a colon."""
    found = list(_BOX.finditer(text, start, end))
    square = [box for box in found if not (box["round"] or box["cross"])]
    if square or not found:
        return square
    before = text[start : found[0].start()]
    is_ticked = any(box["cross"] for box in found)
    return found if _MARKER.fullmatch(before) or (is_ticked and _LEADS.search(before)) else []


def _read_line(text: str, start: int, end: int, boxes: list[re.Match[str]], *, unfinished: bool) -> Iterator[Change]:
    before = text[start : boxes[0].start()]
    ends = [*(box.start() for box in boxes[1:]), end]
    labels = [text[box.end() : stop].strip(_LOOSE) for box, stop in zip(boxes, ends, strict=True)]
    if _MARKER.fullmatch(before) or _SENTENCE.search(before):
        yield from _read_items(text, boxes, ends, labels, unfinished=unfinished and bool(_MARKER.fullmatch(before)))
    elif labels[-1].strip(". ") == "":
        yield from _read_marks(boxes)
    elif all(map(_CHOICE.match, labels)) or (_LEADS.search(before) and any(box["ticked"] for box in boxes)):
        yield from _read_choices(before, boxes, ends, labels)
    elif _LEADS.search(before) or len(boxes) > 1:  # else a blank within a sentence: "a [ ] year old man"
        yield from _read_items(text, boxes, ends, labels, unfinished=False)


def _read_items(
    text: str, boxes: list[re.Match[str]], ends: list[int], labels: list[str], *, unfinished: bool
) -> Iterator[Change]:
    """Boxes in front of what they are about; each item becomes a sentence of its own."""
    done = boxes[0].start() * (not unfinished)  # the end of what is said or left out
    for box, end, label in zip(boxes, ends, labels, strict=True):
        yield from _end_sentence(text, done, box.start())
        done = _behind(text, box.end(), label)
        if box["ticked"] or not _DENIES.search(label):
            done = _blanks_end(text, box.end(), end)
            yield box.start(), done, "" if box["ticked"] else "No "
        else:
            yield box.start(), done, ""


def _end_sentence(text: str, done: int, start: int) -> Iterator[Change]:
    """A full stop behind the last word between two places of the text."""
    stop = start
    while stop > done and text[stop - 1] in " \n\t-–*•":
        stop -= 1
    if stop > done and text[stop - 1].isalnum():
        yield stop - 1, stop, f"{text[stop - 1]}."


def _read_marks(boxes: list[re.Match[str]]) -> Iterator[Change]:
    """Boxes behind what they are about."""
    for box in boxes:
        lead = _LEADS.search(box.string[max(0, box.start() - _NEAR) : box.start()])
        answer = "no" if box["open"] else "yes"
        stop = "" if box is boxes[-1] else "."
        yield box.start(), box.end(), f"{'' if lead else ': '}{answer}{stop}"


def _read_choices(before: str, boxes: list[re.Match[str]], ends: list[int], labels: list[str]) -> Iterator[Change]:
    """Boxes in front of the answers to the words at the beginning of a line."""
    lead = "" if _LEADS.search(before) else ": "
    taken = [box for box in boxes if box["ticked"]]
    unknown = any(_DENIES.match(label) for label in labels)
    for box, end, label in zip(boxes, ends, labels, strict=True):
        if box["ticked"]:
            front = lead if box is taken[0] else ", "
            answer = _LETTERS.get(label.lower(), "")
            behind = _behind(box.string, box.end(), label) if answer else _blanks_end(box.string, box.end(), end)
            yield box.start(), behind, front + answer
        elif not taken and box is boxes[-1]:
            yield box.start(), _behind(box.string, box.end(), label), f"{lead}{'?' if unknown else 'no'}"
        else:
            yield box.start(), _behind(box.string, box.end(), label), ""


def _behind(text: str, start: int, label: str) -> int:
    """The end of a label that stands behind a box."""
    return text.index(label, start) + len(label)


def _blanks_end(text: str, start: int, end: int) -> int:
    while start < end and text[start] in " \t":
        start += 1
    return start
