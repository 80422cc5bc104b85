"""VSE++: an image scores higher with its own report than with the hardest other one (Faghri et al., arXiv 1707.05612).

A method of natural images, which MGCA's table quotes from GLoRIA's. Its convolutional network is VGG-19 or ResNet-152;
here ResNet-50, as for the other rows of that table. Texts are read as word pieces, not as words of NLTK.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.dual_encoder import DualEncoder
from models.encoders.image import ImageEncoder
from models.errors import ModelError
from models.losses.negatives.hinge import hinge
from models.losses.negatives.similarities import similarities
from models.losses.precision import at_least_float32
from models.method import Batch, TextSource, Tokens
from models.methods.matching.config import MEASURES, HingeSettings
from models.text.fingerprints import fingerprints
from models.text.prompts import PromptPair
from models.text.tokenizer import tokenizer
from models.text.word_sequence import WordSequence
from store.settings import setting

# Of the code: 30 epochs with a frozen image encoder, the rate falling after 15; then 15 more, as recalled, of all
# weights at the lower rate. The code stores the best of the first stage by recall on validation; here it is one run.
TRAINING: dict[str, Any] = {
    "input_size": 224,
    "epochs": 45.0,
    "batch_size": 128,
    "optimizer": "adam",
    "learning_rate": 2e-4,
    "weight_decay": 0.0,
    "schedule": "milestones",
    "milestones": "15",
    "milestone_factor": 0.1,
    "warmup_epochs": 0.0,
    "clip_norm": 2.0,
    "augmentation": {"crop_scale": 0.08, "horizontal_flip": 0.5},
    "method_config": {"channels": 3},
}
MOST_NUMBERS = 2**26  # of the differences of images and texts held at once for order embeddings: 256 MB in float32


@dataclass(frozen=True)
class VseppConfig(HingeSettings):
    """VSE++'s settings. The defaults are the paper's and its code's, image encoder, words and `total` aside."""

    word_width: int = setting(300, "Width of the vectors of words.", least=1)
    layers: int = setting(1, "Layers of the GRU.", least=1)
    dimension: int = setting(1024, "Width of the GRU and of the space that images and texts share.", least=1)
    measure: str = setting("cosine", "Similarity: `cosine`, or `order` for order embeddings (usual margin: .05).")
    absolute: bool = setting(False, "Vectors are made non-negative, for order embeddings.")
    normalise_features: bool = setting(True, "Features of the image are of unit length before the projection.")
    normalise_images: bool = setting(True, "Projected images are of unit length; off for order embeddings.")
    hardest: bool = setting(
        True, "Only the hardest negative counts; off: the sum over all, which is the code's default."
    )
    hard_after_epoch: float = setting(
        0.0, "Epochs in which the sum over all negatives is trained before the hardest.", least=0.0
    )
    frozen_image_epochs: float = setting(
        30.0, "Epochs in which the image encoder is not trained; in a run of no more it never is.", least=0.0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.measure not in MEASURES:
            raise ModelError(f"vsepp: measure is one of {', '.join(MEASURES)}, not `{self.measure}`")
        if self.hard_after_epoch and not self.hardest:
            raise ModelError(
                f"vsepp: hard_after_epoch is {self.hard_after_epoch}, but hardest is false, so that all negatives "
                "count in every epoch; set hard_after_epoch to 0, or hardest to true"
            )


class Vsepp(DualEncoder):
    """An image encoder with a linear projection, and a GRU over words."""

    epoch: Tensor  # of the step before; a buffer, so that a run that is resumed knows it

    def __init__(self, config: VseppConfig, image_encoder: ImageEncoder, size: int) -> None:
        super().__init__()
        self.config, self.size, self.channels = config, size, config.channels
        self.prompts = PromptPair(config.positive_prompt, config.negative_prompt)
        pieces = tokenizer(config.text_tokenizer, config.maximum_tokens)
        self.texts = TextSource(pieces, tuple(config.sections.split("+")), config.unit)
        self.image_encoder = image_encoder
        self.image_projection = nn.Linear(image_encoder.dim, config.dimension)
        self.text_encoder = WordSequence(pieces.vocabulary, config.word_width, config.dimension, config.layers)
        self.register_buffer("epoch", torch.zeros(()))

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Vectors (batch, dimension) of images and texts, and the fingerprints (batch,) of the texts."""
        assert batch.tokens is not None
        images = self.project(self.image_features(batch.images))
        return {"images": images, "texts": self.project_texts(batch.tokens), "words": fingerprints(batch.tokens)}

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """Equation 6 of the paper, or 5 without `hardest`."""
        config, words = self.config, encoded["words"]
        scores = similarities(encoded["images"], encoded["texts"], config.measure)
        excluded = words[:, None] == words if config.ignore_equal_texts else None
        loss = hinge(scores, config.margin, int(config.hardest), excluded)
        if config.hardest and config.hard_after_epoch:
            every = hinge(scores, config.margin, 0, excluded)
            loss = torch.where(self.epoch < config.hard_after_epoch, every, loss)
        return {"hinge": loss / max(1, len(scores)) if config.total == "mean" else loss}

    def on_gradients(self, epoch: float) -> None:
        """Hold the image encoder in the first epochs, and remember the epoch."""
        self.epoch.fill_(epoch)
        if epoch < self.config.frozen_image_epochs:
            for weights in self.image_encoder.parameters():
                weights.grad = None

    def project(self, features: Tensor) -> Tensor:
        """(..., width) features of images -> (..., dimension)."""
        config, features = self.config, at_least_float32(features)
        vectors = self.image_projection(F.normalize(features, dim=-1) if config.normalise_features else features)
        vectors = F.normalize(at_least_float32(vectors), dim=-1) if config.normalise_images else vectors
        return vectors.abs() if config.absolute else vectors

    def project_images(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """The projection of the pooled features, and the same of every location's: VSE++ has no local terms."""
        features = self.image_encoder(images)
        return self.project(features.pooled), self.project(features.local), features.grid

    def project_texts(self, tokens: Tokens) -> Tensor:
        """(texts, dimension) of unit length."""
        vectors = F.normalize(self.text_encoder(tokens), dim=-1)
        return vectors.abs() if self.config.absolute else vectors

    def similarity(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """(batch, texts) by the measure of the training. Zero-shot scores and maps are cosines whatever it is."""
        projected, read = self.project(self.image_features(images)), self.embed_texts(texts)
        parts = projected.split(max(1, MOST_NUMBERS // max(1, read.numel())))
        return torch.cat([similarities(part, read, self.config.measure) for part in parts])


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> Vsepp:
    """A VSE++ for images of `size` x `size` pixels; with the `state` of a saved one no weights are fetched."""
    settings = VseppConfig(**config)
    return Vsepp(settings, ImageEncoder.of(settings, size, fresh=state is None), size)
