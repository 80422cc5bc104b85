"""An image encoder alone: a system without pretraining on reports."""

from __future__ import annotations

from torch import Tensor

from models.encoders.image import ImageEncoder
from models.method import Batch, Method


class EncoderAlone(Method):
    """It reads no reports and has no loss: its features are evaluated as they are."""

    def __init__(self, image_encoder: ImageEncoder, size: int, channels: int) -> None:
        super().__init__()
        self.image_encoder, self.size, self.channels = image_encoder, size, channels

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Pooled features (batch, dim); no step is taken with them."""
        return {"features": self.image_features(batch.images)}

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """No loss: 0."""
        return {"none": 0 * encoded["features"].sum()}

    def image_features(self, images: Tensor) -> Tensor:
        """(batch, dim) pooled features."""
        return self.image_encoder(self.prepare(images)).pooled

    def image_maps(self, images: Tensor) -> list[Tensor]:
        """Maps (batch, channels, rows, columns) of the image encoder, fine to coarse."""
        return self.image_encoder.maps(self.prepare(images))
