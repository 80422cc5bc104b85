"""Text as the authors of a method prepare it, before any tokenizer: reports in training, prompts and queries later."""

from __future__ import annotations

import re
from collections.abc import Callable


def words_only(text: str) -> str:
    """The words of `text` in lower case, joined by spaces; punctuation and characters outside ASCII are dropped."""
    words = (word.encode("ascii", "ignore").decode() for word in re.findall(r"\w+", text.lower()))
    return " ".join(word for word in words if word)


def words_and_marks(text: str) -> str:
    """Words and punctuation marks of `text` in lower case, apart; characters outside ASCII are dropped (MedCLIP)."""
    parts = (part.encode("ascii", "ignore").decode() for part in re.findall(r"\w+|[^\w\s]+", text.lower()))
    return " ".join(part for part in parts if part)


CLEANING: dict[str, Callable[[str], str]] = {"none": str, "words": words_only, "marks": words_and_marks}
