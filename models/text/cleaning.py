"""Text as GLoRIA and MGCA prepare it, before any tokenizer: reports in training, prompts and queries afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable


def words_only(text: str) -> str:
    """The words of `text` in lower case, joined by spaces; punctuation and characters outside ASCII are dropped."""
    words = (word.encode("ascii", "ignore").decode() for word in re.findall(r"\w+", text.lower()))
    return " ".join(word for word in words if word)


CLEANING: dict[str, Callable[[str], str]] = {"none": str, "words": words_only}
