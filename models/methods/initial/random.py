"""Random weights: the rows "Random" of the papers' tables. Each seed is another network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from models.encoders.alone import EncoderAlone
from models.encoders.image import ImageEncoder
from models.methods.initial.config import UNTRAINED, EncoderSettings

TRAINING = UNTRAINED


@dataclass(frozen=True)
class RandomConfig(EncoderSettings):
    """An image encoder with random weights."""


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> EncoderAlone:
    """The encoder for images of `size` x `size` pixels."""
    settings = RandomConfig(**config)
    encoder = ImageEncoder(settings.image_encoder, size, channels=settings.channels)
    return EncoderAlone(settings, encoder, size)
