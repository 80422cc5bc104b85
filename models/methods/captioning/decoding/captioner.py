"""Methods that pretrain an image encoder by writing the reports of images: what they have in common."""

from __future__ import annotations

import torch
from torch import Tensor

from models.encoders.image import ImageEncoder
from models.errors import ModelError
from models.losses.language.word_entropy import chosen_entropies, mean_over_words
from models.method import Batch, Method, TextSource
from models.methods.captioning.config import CaptionSettings
from models.methods.captioning.decoding.search import Decoder, search
from models.text.tokenizer import WordPieceTokenizer


class Captioner(Method):
    """An image encoder, and a decoder that looks at its locations. Probes read the pooled features."""

    decoder: Decoder

    def __init__(self, config: CaptionSettings, image_encoder: ImageEncoder, size: int) -> None:
        super().__init__()
        self.config, self.size, self.channels = config, size, config.channels
        self.tokenizer = WordPieceTokenizer(config.text_tokenizer, config.maximum_tokens)
        self.texts = TextSource(self.tokenizer, tuple(config.sections.split("+")), cleaning=config.cleaning)
        self.image_encoder = image_encoder

    def tell(self, cells: Tensor, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """`states` (texts, words, width) of `ids` (texts, words), about `cells` (texts, cells, dim), and whatever else
        (texts, ...) the losses need; `mask` is False where the next word is padding."""
        raise NotImplementedError

    def next_words(self, states: Tensor) -> Tensor:
        """Logits (..., vocabulary) of the words behind `states` (..., width)."""
        raise NotImplementedError

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Of each pair the summed cross-entropy of its words, and their number: all words see the true ones before."""
        assert batch.tokens is not None
        ids, real = batch.tokens.ids, batch.tokens.mask[:, 1:]
        told = self.tell(self.cells(batch.images), ids[:, :-1], real)
        logits = self.next_words(told.pop("states")[real])
        sums, counts = chosen_entropies(logits, ids[:, 1:][real], real)
        return {"sums": sums, "counts": counts, **told}

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """The mean cross-entropy over all words of the batch."""
        return {"words": mean_over_words(encoded["sums"], encoded["counts"])}

    def cells(self, images: Tensor) -> Tensor:
        """Locations (batch, cells, dim) of grey levels (batch, 1, side, side)."""
        return self.image_encoder(self.prepare(images)).local

    @torch.no_grad()
    def write_reports(self, images: Tensor, beam: int = 1) -> list[str]:
        """The likeliest report found for each image, word by word; `beam` beginnings are kept (see `search`)."""
        if beam < 1:
            raise ModelError(f"{self.called}: beam is {beam}, but one beginning of a report has to be kept, or more")
        names = self.tokenizer
        ids = search(
            self.decoder, self.cells(images), names.start, names.end, names.length - 1, beam, (names.pad, names.start)
        )
        return [names.decode(text) for text in ids.tolist()]
