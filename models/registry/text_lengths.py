"""How long the texts of a method may be: what is cut leaves a word, and what is not has a place in the encoder."""

from __future__ import annotations

from typing import Any

from models.encoders.text import TextEncoder
from models.errors import ModelError
from models.method import Method

SHORTEST = 3  # tokens: a start, a word and an end
SETTINGS = ("maximum_tokens", "text_length", "context")  # where texts are cut, as methods call it


def expect_lengths(method: Method, settings: Any) -> None:
    """ModelError where texts are cut at too few tokens, or at more than a text encoder of `method` has places for.

    `settings` are those of the method.
    """
    if method.texts is None:
        return
    length = method.texts.tokenizer.length
    name = next((name for name in SETTINGS if hasattr(settings, name)), "length")
    if length < SHORTEST:
        raise ModelError(
            f"{method.called}: {name} is {length}, but a start, a word and an end of a text are {SHORTEST} tokens"
        )
    for encoder in method.modules():
        if not isinstance(encoder, TextEncoder) or not encoder.positions:
            continue
        places = encoder.bert.config.max_position_embeddings
        if length > places:
            raise ModelError(
                f"{method.called}: {name} is {length}, but the text encoder has places for {places} tokens"
            )
