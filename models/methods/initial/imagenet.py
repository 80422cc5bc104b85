"""Weights of a classifier of ImageNet: the rows "ImageNet" of the papers' tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from models.encoders.alone import EncoderAlone
from models.encoders.image import ImageEncoder
from models.errors import ModelError
from models.methods.initial.config import UNTRAINED, EncoderSettings
from store.settings import setting

TRAINING = UNTRAINED


@dataclass(frozen=True)
class ImagenetConfig(EncoderSettings):
    """An image encoder with weights of ImageNet."""

    image_weights: str = setting("imagenet", "The weights: `imagenet` for those of timm, or the path of a file.")


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> EncoderAlone:
    """The encoder for images of `size` x `size` pixels; with the `state` of a saved one no weights are fetched."""
    settings = ImagenetConfig(**config)
    if state is None and not settings.image_weights:
        raise ModelError("imagenet: image_weights is empty; for random weights take the method `random`")
    weights = settings.image_weights if state is None else ""
    encoder = ImageEncoder(settings.image_encoder, size, weights, channels=settings.channels)
    return EncoderAlone(settings, encoder, size)
