"""CLIP's byte pairs (Radford et al., arXiv 2103.00020), from open_clip."""

from __future__ import annotations

from collections.abc import Sequence

from models.method import Tokens
from models.text.tokenizer import pad_together


class ClipTokenizer:
    """CLIP's tokenizer: start, lower-cased byte pairs, end. A text that is too long is cut and keeps its end token.

    Its pieces mark where a word ends, not where it goes on, so there is no `continues` to join them to words by.
    """

    pad = 0  # as in CLIP, where it is also the id of "!"; the mask tells the two apart

    def __init__(self, length: int = 77) -> None:
        from open_clip import SimpleTokenizer

        self.length = length
        self._tokenizer = SimpleTokenizer(context_length=length)
        self.start, self.end = self._tokenizer.sot_token_id, self._tokenizer.eot_token_id
        self.vocabulary: int = self._tokenizer.vocab_size

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of every text, not padded."""
        kept = self.length - 2
        return [[self.start, *self._tokenizer.encode(text)[:kept], self.end] for text in texts]

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Padded to the longest."""
        return pad_together(self.encode(texts), self.pad)
