"""Caption-Transformer: a meshed-memory transformer writes the report of an image (Cornia et al., CVPR 2020).

The baseline of that name in ConVIRT (Zhang et al., arXiv 2010.00747), of which no code is public. The authors of the
transformer feed it detected objects; here, as ConVIRT has to, it reads the locations of the image encoder, which is
trained. Their second stage, which rewards CIDEr, is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from models.encoders.image import ImageEncoder
from models.errors import ModelError
from models.methods.captioning.config import TRAINING as SHARED
from models.methods.captioning.config import CaptionSettings
from models.methods.captioning.decoding.captioner import Captioner
from models.methods.captioning.decoding.meshed_memory import MemoryEncoder, MeshedDecoder, MeshedMemory
from store.settings import setting

LEVELS = 3  # of the encoder: the authors' decoder has three gates

# The authors' rate rises for 10,000 steps and falls with the root of the step, which no schedule of ours does; here it
# rises and stays. Their encoder is not trained: its rate of 1e-4 is a choice, and is that of the transformer too.
TRAINING: dict[str, Any] = {
    **SHARED,
    "batch_size": 50,
    "beta2": 0.98,
    "warmup_epochs": 2.0,
    "schedule": "constant",
    "early_stop": 5,
    "clip_norm": 0.0,
}


@dataclass(frozen=True)
class CaptionTransformerConfig(CaptionSettings):
    """Settings of Caption-Transformer. Sizes are those of the authors' code."""

    width: int = setting(512, "Width of the transformer.", least=1)
    heads: int = setting(8, "Attention heads.", least=1)
    head_width: int = setting(64, "Width of the queries, keys and values of a head.", least=1)
    feed_forward: int = setting(2048, "Width inside the feed-forward layers.", least=1)
    memory: int = setting(40, "Learned pairs of key and value in each layer of the encoder.", least=0)
    layers: int = setting(3, "Layers of the decoder; the encoder has three.", least=1)
    dropout: float = setting(0.1, "Dropout.", least=0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % 2:
            raise ModelError(f"caption_transformer: width is {self.width}, but positions need an even one")
        if not 0 <= self.dropout < 1:
            raise ModelError(f"caption_transformer: dropout is {self.dropout}, but must lie in 0..1, below 1")
        if self.layers < 1:
            raise ModelError(f"caption_transformer: layers is {self.layers}, but without one no word sees the image")


class CaptionTransformer(Captioner):
    """The network."""

    decoder: MeshedMemory

    def __init__(self, config: CaptionTransformerConfig, size: int, fresh: bool = True) -> None:
        super().__init__(config, ImageEncoder.of(config, size, fresh), size)
        shape = {
            "width": config.width, "heads": config.heads, "key_width": config.head_width,
            "inner": config.feed_forward,
        }  # fmt: skip
        encoder = MemoryEncoder(
            self.image_encoder.local_dim, **shape, layers=LEVELS, memory=config.memory, dropout=config.dropout
        )
        names = self.tokenizer
        decoder = MeshedDecoder(
            names.vocabulary, names.pad, LEVELS, **shape, layers=config.layers, dropout=config.dropout
        )
        self.decoder = MeshedMemory(encoder, decoder)

    def tell(self, cells: Tensor, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """What the decoder makes of the words."""
        return {"states": self.decoder.read_all(cells, ids, mask)}

    def next_words(self, states: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.decoder.decoder.next_word(states)
        return logits


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> CaptionTransformer:
    """A Caption-Transformer for images of `size`, which needs no `knowledge`; with a saved one's `state` no weights
    are fetched."""
    return CaptionTransformer(CaptionTransformerConfig(**config), size, fresh=state is None)
