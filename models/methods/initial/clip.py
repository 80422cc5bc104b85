"""CLIP as released (Radford et al., ICML 2021, arXiv 2103.00020), from which CheXzero and LRCLR start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from models.encoders.clip import load_clip
from models.encoders.clip_settings import COLOURS, ClipSettings
from models.methods.chexzero.config import ChexzeroConfig
from models.methods.chexzero.network import Chexzero
from models.methods.initial.config import UNTRAINED
from models.text.tokenizer import tokenizer
from store.settings import setting

TRAINING = UNTRAINED
CHANNELS = 3


@dataclass(frozen=True)
class ClipConfig(ClipSettings):
    """CLIP's settings; the sizes are those of ViT-B/32."""

    weights: str = setting(
        "openai", "The weights: `openai`, the file of a CLIP, the folder of a run, or empty for random ones."
    )


class Clip(Chexzero):
    """Both towers, with CLIP's own normalisation of images."""

    channels = CHANNELS
    colours = COLOURS


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> Clip:
    """CLIP for images of `size` x `size` pixels; with the `state` of a saved one no weights are fetched."""
    settings = ClipConfig(**config)
    words = tokenizer(settings.text_tokenizer, settings.context)
    method = Clip(ChexzeroConfig(**asdict(settings)), size, words)
    if settings.weights and state is None:
        load_clip(method, settings.weights)
    return method
