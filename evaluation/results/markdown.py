"""Markdown in which the values of an archive, such as the names of labels, are text and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

SPACE = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")  # with line breaks, which end a row
HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# Emphasis, code and cells; `]` where it would end the text of a link; `_` where it is no part of a name.
MARKUP = re.compile(r"[\\|`*~]|\](?=[(\[:])|(?<![^\W_])_|_(?![^\W_])")
ADDRESS = re.compile(r":(?=//)|\bwww(?=\.)|@|\b(?:mailto|xmpp):", re.IGNORECASE)
APART = "\u200b"  # has no width, and keeps an address from becoming a link


class Markdown(str):
    """A text that is Markdown already."""


def escape_markdown(text: Any) -> str:
    """`text` on one line, without markup, links, pictures or HTML of its own; Markdown stays as it is."""
    if isinstance(text, Markdown):
        return text
    line = SPACE.sub(" ", str(text)).translate(HTML)
    return ADDRESS.sub(rf"\g<0>{APART}", MARKUP.sub(r"\\\g<0>", line))


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table whose cells show any values as they are."""
    lines = [[escape_markdown(cell) for cell in line] for line in (header, *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], ["---"] * len(header), *lines[1:]])
