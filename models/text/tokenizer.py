"""Report text to token ids: WordPiece of a BERT through transformers, or CLIP's byte pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.errors import ModelError
from models.method import TextTokenizer, Tokens
from models.text.folders import encoder_folder, reachable


class WordPieceTokenizer:
    """The tokenizer of a BERT: [CLS] pieces [SEP]. `continues` tells which ids go on with the word before them."""

    def __init__(self, name: str, length: int) -> None:
        with reachable("tokenizer", name):
            self._tokenizer = self.load(encoder_folder(name))
        self.length = length
        ids = [getattr(self._tokenizer, f"{kind}_token_id") for kind in ("pad", "cls", "sep")]
        vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        self.vocabulary = len(vocabulary)
        places = {*range(self.vocabulary)}
        if None in ids or not {*ids} <= places or {*vocabulary.values()} != places:
            raise ModelError(
                f"the tokenizer of text encoder `{name}` is not that of a BERT: its pieces need the ids from 0 on, and "
                "[PAD], [CLS] and [SEP] among them; get its files again"
            )
        self.pad, self.start, self.end = map(int, ids)
        self.pieces: list[str] = sorted(vocabulary, key=vocabulary.__getitem__)
        self.continues: Tensor = torch.tensor([piece.startswith("##") for piece in self.pieces])

    @staticmethod
    def load(folder: str) -> Any:
        """transformers' tokenizer of a folder or a hub name."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of every text, not padded."""
        ids: list[list[int]] = self._tokenizer(list(texts), truncation=True, max_length=self.length)["input_ids"]
        return ids

    def words(self, text: str) -> list[str]:
        """The words that the pieces of `text` make (`models.text.words`), [CLS] and [SEP] left out."""
        pieces = self._tokenizer.convert_ids_to_tokens(self.encode([text])[0])
        return " ".join(pieces[1:-1]).replace(" ##", "").split()

    @property
    def mask(self) -> int:
        """Id of the piece that stands for a masked one; ModelError for a vocabulary without it."""
        if self._tokenizer.mask_token_id is None:
            raise ModelError("the tokenizer of the text encoder has no [MASK], which masked-language modelling needs")
        return int(self._tokenizer.mask_token_id)

    def decode(self, ids: Sequence[int]) -> str:
        """The text that ids make, up to the first [SEP]; special tokens are left out."""
        written = list(ids)[: list(ids).index(self.end)] if self.end in ids else list(ids)
        text: str = self._tokenizer.decode(written, skip_special_tokens=True, clean_up_tokenization_spaces=True)
        return text

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Padded to the longest."""
        return pad_together(self.encode(texts), self.pad)


def tokenizer(name: str, length: int) -> TextTokenizer:
    """The tokenizer that goes with a text encoder: `clip`, or the name or folder of a BERT."""
    if name == "clip":
        from models.text.clip_tokenizer import ClipTokenizer

        return ClipTokenizer(length)
    return WordPieceTokenizer(name, length)


def pad_together(ids: Sequence[Sequence[int]], pad: int) -> Tokens:
    """(texts, longest) ids and their mask."""
    lengths = torch.tensor([len(text) for text in ids])
    mask = torch.arange(max(map(len, ids), default=0)) < lengths[:, None]
    padded = torch.full(mask.shape, pad)
    padded[mask] = torch.tensor([token for text in ids for token in text])
    return Tokens(padded, mask)
