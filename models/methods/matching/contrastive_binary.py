"""Contrastive-Binary-Loss, a baseline of ConVIRT: does this text belong to this image? (Zhang et al., arXiv 2010.00747)

Encoders, pairs and training are ConVIRT's. A multilayer perceptron reads the projected vectors of an image and a text
side by side; half of the pairs it sees are true, in the other half the text is another image's. There is no public code
and the paper gives no widths: these are a choice.

The other text is drawn within the batch, by a derangement, where the paper is recalled to draw it from the whole
dataset. Texts of the same words are not drawn for each other. Another sentence of the same report may be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.encoders.heads.matching_head import MatchingHead
from models.encoders.image import ImageEncoder
from models.encoders.text import TextEncoder
from models.losses.negatives.matching import matching_loss
from models.losses.negatives.mismatched import mismatched
from models.method import Batch, Method, TextSource, Tokens
from models.methods.matching.config import MatchingSettings
from models.text.fingerprints import fingerprints
from models.text.tokenizer import tokenizer
from store.settings import setting

# As ConVIRT, which is recalled.
TRAINING: dict[str, Any] = {
    "input_size": 224,
    "epochs": 200.0,  # never reached: the validation loss stops falling before
    "batch_size": 32,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "final_learning_rate": 0.0,
    "weight_decay": 1e-6,
    "decay": "all",
    "warmup_epochs": 0.0,
    "schedule": "plateau",
    "plateau_patience": 5,
    "plateau_factor": 0.5,
    "early_stop": 10,
    "augmentation": {
        "crop_scale": 0.6,
        "horizontal_flip": 0.5,
        "rotation": 20.0,
        "translation": 0.1,
        "scaling": 0.05,
        "brightness": 0.4,
        "contrast": 0.4,
        "blur": 3.0,
    },
    "method_config": {"channels": 3},
}
MINIMUM_WORDS = 3  # of a sentence


@dataclass(frozen=True)
class ContrastiveBinaryConfig(MatchingSettings):
    """Settings of Contrastive-Binary-Loss. Encoders and texts are ConVIRT's."""

    unit: str = setting("sentence", "What is read of a report: a `sentence`, drawn for every step, or the `report`.")
    text_encoder: str = setting(
        "emilyalsentzer/Bio_ClinicalBERT",
        "Text encoder: hub name, local folder, all-MiniLM-L6-v2, or `bert/2x128` for a small one from scratch.",
    )
    frozen_layers: int = setting(
        6,
        "Layers of the text encoder that are not trained, counted from below, embeddings included; 0 for none.",
        least=0,
    )
    width: int = setting(512, "Width of the projections of images and of texts.", least=1)
    hidden: int = setting(512, "Width of the hidden layer behind them.", least=1)
    product: bool = setting(False, "The perceptron also reads the product of the two, element by element.")


class ContrastiveBinary(Method):
    """Two encoders with a linear projection each, and a perceptron over both."""

    contrasts_pairs = True
    text_batch = 256  # texts embedded at once

    def __init__(
        self, config: ContrastiveBinaryConfig, image_encoder: ImageEncoder, text_encoder: TextEncoder, size: int
    ) -> None:
        super().__init__()
        self.config, self.size, self.channels = config, size, config.channels
        pieces = tokenizer(config.text_encoder, config.maximum_tokens)
        words = MINIMUM_WORDS if config.unit == "sentence" else 1
        self.texts = TextSource(pieces, tuple(config.sections.split("+")), config.unit, minimum_words=words)
        self.image_encoder, self.text_encoder = image_encoder, text_encoder
        self.image_projection = nn.Linear(image_encoder.dim, config.width)
        self.text_projection = nn.Linear(text_encoder.dim, config.width)
        self.head = MatchingHead(config.width, config.hidden, config.product)

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Projections (batch, width) of images and texts, and the fingerprints (batch,) of the texts."""
        assert batch.tokens is not None
        images = self.image_projection(self.image_features(batch.images))
        return {"images": images, "texts": self.read(batch.tokens), "words": fingerprints(batch.tokens)}

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """Binary cross-entropy of each image with its own text and with another one of the batch."""
        images, texts = encoded["images"], encoded["texts"]
        others, known = mismatched(encoded["words"])
        return {"matching": matching_loss(self.head(images, texts), self.head(images, texts[others]), known)}

    def read(self, tokens: Tokens) -> Tensor:
        """(texts, width): the projected maximum over the tokens, as ConVIRT pools them."""
        hidden = self.text_encoder(tokens).tokens
        return self.text_projection(hidden.masked_fill(~tokens.mask[..., None], -torch.inf).amax(1))

    def similarity(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """(batch, texts) logits of belonging together."""
        assert self.texts is not None
        parts = [texts[start : start + self.text_batch] for start in range(0, len(texts), self.text_batch)]
        read = torch.cat([self.read(self.texts.tokens(part, self.device)) for part in parts])
        return self.head.every_pair(self.image_projection(self.image_features(images)), read)


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> ContrastiveBinary:
    """The network for images of `size` x `size` pixels; with the `state` of a saved one no weights are fetched."""
    settings, fresh = ContrastiveBinaryConfig(**config), state is None
    text_encoder = TextEncoder(settings.text_encoder, fresh, frozen_layers=settings.frozen_layers)
    return ContrastiveBinary(settings, ImageEncoder.of(settings, size, fresh), text_encoder, size)
