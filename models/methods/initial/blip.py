"""The image tower of BLIP (Li et al., ICML 2022, arXiv 2201.12086), trained on natural images and their captions.

It is the row "BLIP" of MGCA's table 5, where it stands for training on natural images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from models.encoders.alone import EncoderAlone
from models.encoders.clip_settings import COLOURS
from models.encoders.image import ImageEncoder
from models.errors import ModelError
from models.methods.initial.config import UNTRAINED, EncoderSettings
from store.settings import setting

TRAINING = UNTRAINED
CHANNELS = 3


@dataclass(frozen=True)
class BlipConfig(EncoderSettings):
    """BLIP's image tower."""

    image_encoder: str = setting("vit_base_patch16_224", "Image encoder: the timm name of BLIP's tower.")
    image_weights: str = setting("", "The path of BLIP's checkpoint, such as model_base.pth; there is no default.")

    def __post_init__(self) -> None:
        if self.channels != CHANNELS:
            raise ModelError(f"blip: channels is {self.channels}, but BLIP's tower has {CHANNELS}")


class Blip(EncoderAlone):
    """BLIP's image tower with its normalisation, which is CLIP's."""

    colours = COLOURS


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> Blip:
    """The tower for images of `size` x `size` pixels; with the `state` of a saved one no file is read."""
    settings = BlipConfig(**config)
    if state is None and not settings.image_weights:
        raise ModelError("blip: image_weights is empty; give the path of BLIP's checkpoint, such as model_base.pth")
    weights = settings.image_weights if state is None else ""
    encoder = ImageEncoder(settings.image_encoder, size, weights, channels=settings.channels)
    return Blip(settings, encoder, size)
