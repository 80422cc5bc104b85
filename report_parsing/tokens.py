"""Words of a sentence as lower-case tokens with their spans: letters, numbers and single marks, never glued."""

from __future__ import annotations

import re

from report_parsing.sections import Span

_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d+(?:[.,]\d+)*|_+|[^\w\s]")
_NOT = re.compile(r"n['’]t$")
_SHORTENED = {"ca": "can", "wo": "will", "sha": "shall"}


def tokenize(text: str) -> tuple[list[str], list[Span]]:
    """Tokens and their characters in `text`; "cannot" and "isn't" are two tokens, the second of them "not"."""
    words: list[str] = []
    spans: list[Span] = []
    for match in _TOKEN.finditer(text):
        word = match[0].lower()
        start, end = match.span()
        if word == "cannot" or _NOT.search(word):
            stem = word[:-3]
            words += [_SHORTENED.get(stem, stem), "not"]
            spans += [(start, end - 3), (end - 3, end)]
        else:
            words.append(word)
            spans.append((start, end))
    return words, spans
