"""An image encoder alone: a system without pretraining on reports."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from models.encoders.image import ImageEncoder
from models.errors import ModelError
from models.method import Batch, Method


class Settings(Protocol):
    """What is read of the settings of such a system."""

    @property
    def image_encoder(self) -> str:
        """The name of the encoder."""

    @property
    def channels(self) -> int:
        """1, or 3."""


class EncoderAlone(Method):
    """It reads no reports and has no loss: its features are evaluated as they are."""

    def __init__(self, config: Settings, image_encoder: ImageEncoder, size: int) -> None:
        super().__init__()
        self.config, self.image_encoder = config, image_encoder
        self.size, self.channels = size, config.channels

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Pooled features (batch, dim); no step is taken with them."""
        return {"features": self.image_features(batch.images)}

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """No loss: 0."""
        return {"none": 0 * encoded["features"].sum()}

    def on_step_start(self) -> None:
        """ModelError: weight decay and batch norm would change weights that are evaluated as they are."""
        raise ModelError("a system without pretraining has no loss and takes no step; set epochs and max_steps to 0")
