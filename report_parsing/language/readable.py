"""A text as it is read, in plain characters and without markup, and where each of its characters is in the original.

Everything that looks for words reads this: headings, sentences, tokens. Their spans are characters of the original.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from report_parsing.language.boxes import may_hold_boxes, read_boxes
from report_parsing.language.characters import made_plain
from report_parsing.language.markup import MARKUP, read_markup

Span = tuple[int, int]

_ODD = re.compile(
    rf"""[<&\\*_\x00-\x08\x0e-\x1b\x7f-\U0010ffff]
    (?: {MARKUP}
      | (?<=[\x00-\x08\x0e-\x1b\x7f-\U0010ffff]) [\u0300-\u036f]*+ )""",
    re.VERBOSE,
)
WORD_JOINER = "\u2060"  # has no width, and is not read
_SURROGATE = re.compile("[\ud800-\udfff]")
_COMBINING = re.compile(r"[\u0300-\u036f]")
_MARKUP_BEGINS = frozenset("<&\\*_")
_TIGHT_DASH = re.compile(r"(?<=[^\W_])–(?=[^\W_])")


class Readable(NamedTuple):
    """A text as it is read. `starts` and `ends` are the span in the original of each character; None: the same."""

    text: str
    starts: list[int] | None = None
    ends: list[int] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The characters of the original behind those of a span that is not empty."""
        return (start, end) if self.starts is None or self.ends is None else (self.starts[start], self.ends[end - 1])

    def place(self, cut: int, length: int) -> int:
        """Where a cut in front of a character lies in the original of this length; the outer cuts are its ends."""
        if self.starts is None:
            return cut
        return self.starts[cut] if 0 < cut < len(self.text) else length * bool(cut)


def is_plain(text: str) -> bool:
    """Whether nothing in the text can be read as something else; most texts are, and this is told at once."""
    if not text.isascii() or not text.replace("\n", "").isprintable():
        return False
    return not ("<" in text or "*" in text or "_" in text or "&" in text or "\\" in text or may_hold_boxes(text))


def readable(text: str, emphasis: bool = False) -> Readable:
    """The text as it is read; `emphasis` keeps Markdown's marks of emphasis, in the form `**Findings**`."""
    if is_plain(text):
        return Readable(text)
    pieces: list[str] = []
    spans: list[Span] = []  # of the original, for each piece
    done = 0
    for start, end, instead in _changes(text, emphasis):
        pieces += [text[done:start], instead]
        spans += [(done, start), (start, end)]
        done = end
    if not pieces:
        return Readable(text)
    pieces.append(text[done:])
    spans.append((done, len(text)))
    plain = _TIGHT_DASH.sub("-", "".join(pieces))
    if all(len(piece) == end - start for piece, (start, end) in zip(pieces, spans, strict=True)):
        return Readable(plain)
    return Readable(plain, *_origins(pieces, spans))


def without_surrogates(text: str) -> str:
    """The text, character for character, with surrogates replaced by what is read instead, or by WORD_JOINER."""
    return text if text.isascii() else _SURROGATE.sub(lambda found: made_plain(found[0]) or WORD_JOINER, text)


def _changes(text: str, emphasis: bool) -> Iterator[tuple[int, int, str]]:
    """(start, end, what is read instead) of what is read as something else, in order."""
    boxes = [*read_boxes(text), (len(text), len(text), "")]
    if len(boxes) == 1:
        yield from _odd_characters(text, emphasis)
        return
    number = 0
    for change in _odd_characters(text, emphasis):
        while boxes[number][1] <= change[0] and number + 1 < len(boxes):
            yield boxes[number]
            number += 1
        if change[1] <= boxes[number][0]:  # what a box hides is not read
            yield change
    yield from boxes[number:-1]


def _odd_characters(text: str, emphasis: bool) -> Iterator[tuple[int, int, str]]:
    for match in _ODD.finditer(text):
        start, end = match.span()
        if text[start] in _MARKUP_BEGINS:
            instead = read_markup(match, emphasis)
        else:
            start -= bool(start and text[start - 1].isascii() and _COMBINING.match(text, start))
            instead = made_plain(text[start:end])
        if instead != text[start:end]:
            yield start, end, instead


def _origins(pieces: list[str], spans: list[Span]) -> tuple[list[int], list[int]]:
    """The span in the original of each character; it is that of the whole piece where a piece changed its length."""
    starts: list[int] = []
    ends: list[int] = []
    for piece, (start, end) in zip(pieces, spans, strict=True):
        if len(piece) == end - start:
            starts.extend(range(start, end))
            ends.extend(range(start + 1, end + 1))
        else:
            starts.extend([start] * len(piece))
            ends.extend([end] * len(piece))
    return starts, ends
