"""DSVE: a map of the image, pooled from its most and least active cells, matched with the report by a hinge loss.

Engilberge et al., "Finding beans in burgers", CVPR 2018; a method of natural images, which MGCA's table quotes from
GLoRIA's. Written from the formulae alone. Its network is ResNet-152; here it is ResNet-50, as in other rows. Vectors
of words are learned here and frozen skip-thought vectors there; texts are read as word pieces, and whole where the code
keeps the first sentence (`unit: sentence` draws one).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from models.dual_encoder import DualEncoder
from models.encoders.heads.weldon import weldon_pool
from models.encoders.image import ImageEncoder
from models.errors import ModelError
from models.losses.negatives.hinge import hinge
from models.losses.negatives.similarities import similarities
from models.losses.precision import unit_rows
from models.method import Batch, TextSource, Tokens
from models.methods.matching.config import CELLS, HingeSettings
from models.text.fingerprints import fingerprints
from models.text.prompts import PromptPair
from models.text.tokenizer import tokenizer
from models.text.word_sequence import WordSequence
from store.settings import setting

# Of the code, without its fault that the rate jumps back when a part of the network is released. It never trains the
# first two stages of the image encoder; here all are trained from epoch 8 on.
TRAINING: dict[str, Any] = {
    "input_size": 256,
    "epochs": 60.0,
    "batch_size": 160,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "schedule": "milestones",
    "milestones": "2+3+4+5+6",
    "milestone_factor": 0.5,
    "warmup_epochs": 0.0,
    "augmentation": {"crop_scale": 0.08, "horizontal_flip": 0.5},
    "method_config": {"channels": 3},
}


@dataclass(frozen=True)
class DsveConfig(HingeSettings):
    """DSVE's settings. The defaults are those of the paper's code, image encoder, words, `total` and
    `negated_diagonal` aside."""

    word_width: int = setting(620, "Width of the vectors of words.", least=1)
    layers: int = setting(4, "Layers of the text tower.", least=1)
    cell: str = setting("sru", "Cell of the text tower: `sru`, or `gru`.")
    dimension: int = setting(2400, "Width of the maps, of the text tower, and of the space they share.", least=1)
    largest: int = setting(15, "Largest activations of a map that are averaged.", least=1)
    smallest: int = setting(15, "Smallest activations of a map that are averaged, and added; 0 for none.", least=0)
    image_dropout: float = setting(0.5, "Dropout of the pooled map.", least=0.0, below=1.0)
    text_dropout: float = setting(
        0.25, "Dropout of the words and between the layers of the text tower.", least=0.0, below=1.0
    )
    hardest: int = setting(1, "Hardest negatives of each image and text that count; 0 for all.", least=0)
    negated_diagonal: bool = setting(
        False,
        "A pair's own score, negated, stands among its negatives, as in the code: the loss rises where it is below 0.",
    )
    frozen_text_epochs: float = setting(2.0, "Epochs in which the text tower is not trained.", least=0.0)
    frozen_image_epochs: float = setting(
        8.0, "Epochs in which image encoder and maps are not trained; in a run of no more they never are.", least=0.0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cell not in CELLS:
            raise ModelError(f"dsve: cell is one of {', '.join(CELLS)}, not `{self.cell}`")
        if min(self.largest, self.smallest) < 0 or self.largest + self.smallest < 1:
            raise ModelError("dsve: largest and smallest are numbers of cells, at least one of them above 0")


class Dsve(DualEncoder):
    """Maps of the image in the width of the joint space, and a recurrent network over words."""

    def __init__(self, config: DsveConfig, image_encoder: ImageEncoder, size: int) -> None:
        super().__init__()
        self.config, self.size, self.channels = config, size, config.channels
        self.prompts = PromptPair(config.positive_prompt, config.negative_prompt)
        pieces = tokenizer(config.text_tokenizer, config.maximum_tokens)
        self.texts = TextSource(pieces, tuple(config.sections.split("+")), config.unit)
        self.image_encoder = image_encoder
        self.map_projection = nn.Linear(image_encoder.local_dim, config.dimension)  # a convolution of 1 x 1
        self.image_projection = nn.Linear(config.dimension, config.dimension)
        self.text_encoder = WordSequence(
            pieces.vocabulary, config.word_width, config.dimension, config.layers, config.cell, config.text_dropout
        )

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Unit vectors (batch, dimension) of images and texts, and the fingerprints (batch,) of the texts."""
        assert batch.tokens is not None
        images = unit_rows(self.project_cells(self.image_encoder(self.prepare(batch.images)).local))
        texts = unit_rows(self.project_texts(batch.tokens))
        return {"images": images, "texts": texts, "words": fingerprints(batch.tokens)}

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """The hinge loss with the hardest negatives of the batch."""
        config, words = self.config, encoded["words"]
        scores = similarities(encoded["images"], encoded["texts"], "cosine")
        excluded = words[:, None] == words if config.ignore_equal_texts else None
        loss = hinge(scores, config.margin, config.hardest, excluded, config.negated_diagonal)
        return {"hinge": loss / max(1, len(scores)) if config.total == "mean" else loss}

    def on_gradients(self, epoch: float) -> None:
        """Train the projection of the image alone at first, then the text tower too, then everything."""
        images = (self.image_encoder, self.map_projection) if epoch < self.config.frozen_image_epochs else ()
        texts = (self.text_encoder,) if epoch < self.config.frozen_text_epochs else ()
        for part in (*images, *texts):
            for weights in part.parameters():
                weights.grad = None

    def project_cells(self, cells: Tensor) -> Tensor:
        """(batch, cells, local width) of the image encoder -> (batch, dimension)."""
        pooled = weldon_pool(self.map_projection(cells), self.config.largest, self.config.smallest)
        return self.image_projection(F.dropout(pooled, self.config.image_dropout, self.training))

    def project_images(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """The projection of the pooled map, and the same of every location's."""
        features = self.image_encoder(images)
        local = self.image_projection(self.map_projection(features.local))
        return self.project_cells(features.local), local, features.grid

    def project_texts(self, tokens: Tokens) -> Tensor:
        """(texts, dimension), not normalised."""
        vectors: Tensor = self.text_encoder(tokens)
        return vectors


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> Dsve:
    """A DSVE for images of `size` x `size` pixels; with the `state` of a saved one no weights are fetched."""
    settings = DsveConfig(**config)
    return Dsve(settings, ImageEncoder.of(settings, size, fresh=state is None), size)
