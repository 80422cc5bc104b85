"""Words of a sentence as lower-case tokens with their spans: letters, numbers and single marks, never glued."""

from __future__ import annotations

import re
from collections.abc import Sequence

from report_parsing.language.readable import readable
from report_parsing.sections.layout import Span

_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d+(?:[.,]\d+)*|_+|[^\w\s]")
_HOLDS_NOT = re.compile(r"cannot|[^\W\d_]+n['’]t")
_SHORTENED = {"ca": "can", "wo": "will", "sha": "shall"}


def tokenize(text: str) -> tuple[list[str], list[Span]]:
    """Tokens as read, and their characters in `text`; "cannot" and "isn't" are two tokens, the second of them "not"."""
    read = readable(text)
    text = lower(read.text)
    words = _TOKEN.findall(text)
    spans = find_in_order(text, words)  # several times faster than asking a match object for each
    if "cannot" in text or "n't" in text or "n’t" in text:
        _split_not(words, spans)
    return words, spans if read.starts is None else [read.span(*span) for span in spans]


def find_in_order(text: str, words: Sequence[str]) -> list[Span]:
    """The characters of words that a text holds in this order, each found behind the one before."""
    spans: list[Span] = []
    end = 0
    for word in words:
        start = text.index(word, end)
        end = start + len(word)
        spans.append((start, end))
    return spans


def lower(text: str) -> str:
    """Lower case, character by character, so that the length stays."""
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else "".join(low if len(low := c.lower()) == 1 else c for c in text)


def _split_not(words: list[str], spans: list[Span]) -> None:
    for index in range(len(words) - 1, -1, -1):
        word, (start, end) = words[index], spans[index]
        if _HOLDS_NOT.fullmatch(word):
            words[index : index + 1] = [_SHORTENED.get(word[:-3], word[:-3]), "not"]
            spans[index : index + 1] = [(start, end - 3), (end - 3, end)]
