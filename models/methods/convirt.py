"""ConVIRT: an image and a sentence of its report are pulled together (Zhang et al., arXiv 2010.00747, section 3).

Where the paper and ConVIRT-pytorch (its best known reimplementation) differ, the default is the paper's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.dual_encoder import DualEncoder
from models.encoders.image import ImageEncoder
from models.encoders.text import TextEncoder
from models.losses.info_nce import info_nce
from models.method import Batch, TextSource, TextTokenizer, Tokens
from models.text.prompts import PromptPair
from models.text.tokenizer import tokenizer

# Appendix A of the paper. It mirrors films under reports that say left and right; here the words follow (flip_sides).
TRAINING = {
    "input_size": 224,
    "epochs": 200.0,  # never reached: the validation loss stops falling before
    "batch_size": 32,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "final_learning_rate": 0.0,
    "weight_decay": 1e-6,
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
}
MINIMUM_WORDS = 3  # of a sentence


@dataclass(frozen=True)
class ConvirtConfig:
    """ConVIRT's settings; the defaults are the paper's (section 3 and appendix A)."""

    image_encoder: str = "resnet50"  # a timm name, or `vit/4x128p8` for a small ViT from scratch
    image_weights: str = "imagenet"  # "" for random ones (ConVIRT-pytorch), "imagenet", or a checkpoint's path
    image_stage: int = 0  # the residual stage whose features are pooled; 0: the last
    output_stride: int = 32  # 8 or 16 keep the grid finer by dilation
    text_encoder: str = "emilyalsentzer/Bio_ClinicalBERT"  # hub name, local folder, all-MiniLM-L6-v2, or `bert/2x128`
    frozen_layers: int = 6  # of the text encoder, from below, its embeddings included; 0: nothing is frozen
    sections: str = (
        "findings+impression"  # of the report, joined by +, whose sentences are drawn; a/b: b in archives without a
    )
    maximum_tokens: int = 128  # of a sentence
    text_pooling: str = "max"  # max over the tokens, or their mean (ConVIRT-pytorch); padding never counts
    detach_text: bool = False  # ConVIRT-pytorch: no gradient reaches the text encoder or its projection
    dimension: int = 512  # of the space that images and sentences share
    positive_prompt: str = "{}"  # how zero-shot asks; several are joined by |, and their directions averaged
    negative_prompt: str = "no {}"
    temperature: float = 0.1
    image_weight: float = 0.75  # lambda: of image to text; text to image has the rest

    def __post_init__(self) -> None:
        if self.text_pooling not in ("max", "mean"):
            raise ValueError(f"convirt: text_pooling is `max` or `mean`, not `{self.text_pooling}`")
        if self.temperature <= 0:
            raise ValueError(f"convirt: temperature is {self.temperature}, but must be above 0")
        if not 0 <= self.image_weight <= 1:
            raise ValueError(f"convirt: image_weight is {self.image_weight}, but must lie in 0..1")


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
        self.config = config
        self.size = size
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

    def image_features(self, images: Tensor) -> Tensor:
        """(batch, dim) pooled features before the projection."""
        return self.image_encoder(self.prepare(images)).pooled

    def image_maps(self, images: Tensor) -> list[Tensor]:
        """Maps (batch, channels, rows, columns) of the image encoder, fine to coarse."""
        return self.image_encoder.maps(self.prepare(images))


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
    image_encoder = ImageEncoder(
        settings.image_encoder,
        size,
        settings.image_weights if fresh else "",
        settings.image_stage,
        settings.output_stride,
        pooled=settings.image_stage == 0,
    )
    text_encoder = TextEncoder(settings.text_encoder, fresh, frozen_layers=settings.frozen_layers)
    return Convirt(
        settings, image_encoder, text_encoder, tokenizer(settings.text_encoder, settings.maximum_tokens), size
    )
