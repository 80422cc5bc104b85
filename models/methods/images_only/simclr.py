"""SimCLR: two views of an image are each other's match among those of all images (Chen et al., arXiv 2002.05709).

It reads no reports: the images-only control of ConVIRT's comparison. Every image counts on its own, so that two images
of a study are negatives of each other. The defaults are those of LoVT's baseline `simclr_100`; ConVIRT's appendix is
recalled to have the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.encoders.heads.contrastive_head import contrastive_head
from models.encoders.image import ImageEncoder
from models.losses.negatives.nt_xent import nt_xent
from models.method import Batch, Method
from models.methods.images_only.config import ImagesOnlySettings
from store.settings import setting

# Views as in the codes, without saturation, hue and the grey step, which an X-ray has no use for.
TRAINING: dict[str, Any] = {
    "input_size": 224,
    "epochs": 100.0,
    "batch_size": 128,
    "last_batch": "drop",
    "optimizer": "adam",
    "learning_rate": 3e-4,
    "final_learning_rate": 0.0,
    "weight_decay": 1e-4,
    "decay": "all",
    "schedule": "cosine",
    "warmup_epochs": 1.0,
    "augmentation": {
        "crop_scale": 0.08,
        "horizontal_flip": 0.5,
        "brightness": 0.8,
        "contrast": 0.8,
        "jitter_probability": 0.8,
        "blur": 2.0,
        "blur_probability": 0.5,
    },
    "method_config": {"channels": 3},
}


@dataclass(frozen=True)
class SimclrConfig(ImagesOnlySettings):
    """SimCLR's settings. Defaults are those of LoVT's baseline, unless a setting says otherwise."""

    temperature: float = setting(0.1, "Temperature of the loss; sthalles/SimCLR has .07.", above=0.0)
    normalise: bool = setting(True, "Contrast cosines; off: inner products, an option of google-research/simclr.")
    sum_views: bool = setting(
        False, "Add the losses of both views up instead of averaging them, as google-research/simclr does."
    )


class Simclr(Method):
    """An image encoder, and a projection for the training."""

    two_views = True
    contrasts_pairs = True

    def __init__(self, config: SimclrConfig, image_encoder: ImageEncoder, size: int) -> None:
        super().__init__()
        self.config, self.size, self.channels = config, size, config.channels
        self.image_encoder = image_encoder
        self.head = contrastive_head(config.head, image_encoder.dim, config.dimension)

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Projections (batch, 2, dimension) of both views, which pass the batch norm of the encoder together."""
        assert batch.views is not None
        pairs = torch.stack([self.prepare(batch.images), self.prepare(batch.views)], dim=1)
        images = pairs.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return {"views": self.head(self.image_encoder(images).pooled).unflatten(0, (-1, 2))}

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """NT-Xent of all views of the batch."""
        config, views = self.config, encoded["views"].transpose(0, 1)
        return {"contrast": nt_xent(views, config.temperature, config.normalise, config.sum_views)}


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> Simclr:
    """A SimCLR for images of `size` x `size` pixels; with the `state` of a saved one no weights are fetched."""
    settings = SimclrConfig(**config)
    return Simclr(settings, ImageEncoder.of(settings, size, fresh=state is None), size)
