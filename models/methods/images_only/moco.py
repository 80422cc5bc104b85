"""MoCo v2: a view of an image finds the other one among a queue of earlier images.

He et al., arXiv 1911.05722, with the changes of Chen et al., arXiv 2003.04297. It reads no reports. The defaults are
those of MoCo v2 in the authors' code. ConVIRT's comparison used other values, as recalled: batch 64, a queue of 4,096,
temperature .07, learning rate .0075 and 100 epochs (`configs/variants/moco/convirt.yaml`).

A step: the key network moves towards the query network; keys and queries are contrasted, the queue being that of the
steps before; the query network is updated; the step's keys enter the queue. Gradients of several batches, of
micro-batches and of several processes make one step, so that the queue and the key network move once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.encoders.heads.contrastive_head import contrastive_head
from models.encoders.image import ImageEncoder
from models.encoders.momentum.average import follow, follower_of
from models.encoders.momentum.queue import KeyQueue
from models.encoders.momentum.shuffle import encode_keys
from models.errors import ModelError
from models.losses.negatives.queue_contrast import queue_contrast
from models.losses.precision import unit_rows
from models.method import Batch, Method
from models.methods.images_only.config import ImagesOnlySettings
from store.settings import setting

# Views without saturation, hue and the grey step, which an X-ray has no use for.
TRAINING: dict[str, Any] = {
    "input_size": 224,
    "epochs": 200.0,
    "batch_size": 256,
    "last_batch": "drop",
    "optimizer": "sgd",
    "momentum": 0.9,
    "learning_rate": 0.03,
    "final_learning_rate": 0.0,
    "weight_decay": 1e-4,
    "decay": "all",
    "schedule": "cosine",
    "warmup_epochs": 0.0,
    "augmentation": {
        "crop_scale": 0.2,
        "horizontal_flip": 0.5,
        "brightness": 0.4,
        "contrast": 0.4,
        "jitter_probability": 0.8,
        "blur": 2.0,
        "blur_probability": 0.5,
    },
    "method_config": {"channels": 3},
}


@dataclass(frozen=True)
class MocoConfig(ImagesOnlySettings):
    """MoCo's settings. The defaults are those of MoCo v2 in the authors' code, the weights to start from aside."""

    temperature: float = setting(0.2, "Temperature of the loss; MoCo v1 has .07.", above=0.0)
    queue: int = setting(65536, "Keys of earlier images that are negatives; any number, whatever the batch.", least=1)
    key_momentum: float = setting(0.999, "Share of the key network that stays in each step.", least=0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.key_momentum <= 1:
            raise ModelError(f"moco: key_momentum is {self.key_momentum}, but must lie in 0..1")


class Moco(Method):
    """A query network that is trained, a key network that follows it, and the queue of keys."""

    two_views = True

    def __init__(self, config: MocoConfig, image_encoder: ImageEncoder, size: int) -> None:
        super().__init__()
        self.config, self.size, self.channels = config, size, config.channels
        self.image_encoder = image_encoder
        self.head = contrastive_head(config.head, image_encoder.dim, config.dimension)
        self.key_encoder, self.key_head = follower_of(self.image_encoder), follower_of(self.head)
        self.queue = KeyQueue(config.queue, config.dimension)

    def on_step_start(self) -> None:
        """Move the key network towards the query network, before the keys of the step, as the authors' code does."""
        for keys, queries in ((self.key_encoder, self.image_encoder), (self.key_head, self.head)):
            follow(keys, queries, self.config.key_momentum)

    def on_step_end(self) -> None:
        """Let the keys of the step take the place of the oldest in the queue."""
        self.queue.write()

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Queries and keys of unit length, (batch, dimension) each."""
        assert batch.views is not None
        queries = unit_rows(self.head(self.image_encoder(self.prepare(batch.images)).pooled))
        with torch.no_grad():  # behind the queries: a second pass for their gradients ends before it
            keys = encode_keys(self.key_encoder, self._keys, self.prepare(batch.views))
        return {"queries": queries, "keys": keys}

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """InfoNCE among the keys of earlier steps."""
        if self.training:
            self.queue.add(encoded["keys"])
        pairs = encoded["queries"], encoded["keys"]
        return {"contrast": queue_contrast(*pairs, self.queue.keys, self.config.temperature)}

    def _keys(self, images: Tensor) -> Tensor:
        return unit_rows(self.key_head(self.key_encoder(images).pooled))


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> Moco:
    """A MoCo for images of `size` x `size` pixels; with the `state` of a saved one no weights are fetched."""
    settings = MocoConfig(**config)
    return Moco(settings, ImageEncoder.of(settings, size, fresh=state is None), size)
