"""ConVIRT: an image and a sentence of its report are pulled together (Zhang et al., arXiv 2010.00747, section 3).

Where the paper and ConVIRT-pytorch (its best known reimplementation) differ, the default is the paper's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from models.dual_encoder import DualEncoder
from models.encoders.image import ImageEncoder
from models.encoders.text import TextEncoder
from models.losses.info_nce import info_nce
from models.method import Batch, TextSource, TextTokenizer, Tokens
from models.methods.convirt.config import ConvirtConfig
from models.text.prompts import PromptPair
from models.text.tokenizer import tokenizer

MINIMUM_WORDS = 3  # of a sentence


class Convirt(DualEncoder):
    """Two encoders, each with a projection of one hidden layer as wide as its input."""

    def __init__(
        self,
        config: ConvirtConfig,
        image_encoder: ImageEncoder,
        text_encoder: TextEncoder,
        text_tokenizer: TextTokenizer | None,
        size: int = 224,
    ) -> None:
        super().__init__()
        self.prompts = PromptPair(config.positive_prompt, config.negative_prompt)
        self.config, self.size, self.channels = config, size, config.channels
        self.image_encoder, self.text_encoder = image_encoder, text_encoder
        self.image_projection = _projection(image_encoder.dim, config.dimension)
        self.text_projection = _projection(text_encoder.dim, config.dimension)
        if text_tokenizer is not None:
            sections = tuple(config.sections.split("+"))
            self.texts = TextSource(text_tokenizer, sections, unit="sentence", minimum_words=MINIMUM_WORDS)

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """v and u of section 3.1: projected images and sentences, (batch, dimension) each."""
        assert batch.tokens is not None
        pooled = self.image_encoder(self.prepare(batch.images)).pooled
        return {"images": self.image_projection(pooled), "texts": self.project_texts(batch.tokens)}

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """Equations 2 to 4."""
        pairs = encoded["images"], encoded["texts"]
        return {"contrast": info_nce(*pairs, self.config.temperature, self.config.image_weight)}

    def project_images(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """The projection of the pooled features, and the same of every location's: ConVIRT has no local terms."""
        features = self.image_encoder(images)
        return self.image_projection(features.pooled), self.image_projection(features.local), features.grid

    def project_texts(self, tokens: Tokens) -> Tensor:
        """(texts, dimension), not normalised."""
        with torch.no_grad() if self.config.detach_text else nullcontext():
            return self.text_projection(self.pool(self.text_encoder(tokens).tokens, tokens.mask))

    def pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """(texts, length, dim) hidden states -> (texts, dim), over the tokens in `mask` (texts, length)."""
        mask = mask[..., None]
        if self.config.text_pooling == "max":
            return hidden.masked_fill(~mask, -torch.inf).amax(1)
        return hidden.masked_fill(~mask, 0).sum(1) / mask.sum(1)


def _projection(width: int, dimension: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, dimension))


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> Convirt:
    """A ConVIRT for images of `size` x `size` pixels; it has no use for the `knowledge` table.

    With the `state` of a saved one no pretrained weights are needed.
    """
    settings = ConvirtConfig(**config)
    fresh = state is None
    image_encoder = ImageEncoder.of(settings, size, fresh)
    text_encoder = TextEncoder(settings.text_encoder, fresh, frozen_layers=settings.frozen_layers)
    return Convirt(
        settings, image_encoder, text_encoder, tokenizer(settings.text_encoder, settings.maximum_tokens), size
    )
