"""Caption-LSTM: a recurrent decoder with soft attention writes the report of an image (Xu et al., ICML 2015).

The baseline of that name in ConVIRT (Zhang et al., arXiv 2010.00747), of which no code is public: sizes are those of
the code that is used most for the method. ConVIRT transfers the weights with the best CIDEr on held-out pairs, as
recalled; here they are those with the lowest validation loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from models.encoders.image import ImageEncoder
from models.errors import ModelError
from models.losses.language.coverage import uncovered
from models.methods.captioning.config import TRAINING as SHARED
from models.methods.captioning.config import CaptionSettings
from models.methods.captioning.decoding.attention_lstm import AttentionLstm
from models.methods.captioning.decoding.captioner import Captioner
from store.settings import setting

# The code that is used most lowers the rate by a fifth after 8 epochs without a better BLEU, and stops after 20. It has
# 4e-4 for the decoder and 1e-4 for the image encoder, and bounds each number of a gradient by 5, not their norm.
TRAINING: dict[str, Any] = {
    **SHARED,
    "batch_size": 32,
    "warmup_epochs": 0.0,
    "schedule": "plateau",
    "plateau_patience": 8,
    "plateau_factor": 0.8,
    "early_stop": 20,
    "clip_norm": 5.0,
}


@dataclass(frozen=True)
class CaptionLstmConfig(CaptionSettings):
    """Settings of Caption-LSTM."""

    embedding: int = setting(512, "Width of the vectors of words.", least=1)
    hidden: int = setting(512, "Width of the hidden state.", least=1)
    attention: int = setting(512, "Width of the layer that decides where to look.", least=1)
    dropout: float = setting(0.5, "Dropout of the hidden states before the next word.", least=0.0)
    coverage: float = setting(
        1.0,
        "Weight of the penalty that asks each location to be looked at once over a report; 0 leaves it out.",
        least=0.0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.dropout < 1:
            raise ModelError(f"caption_lstm: dropout is {self.dropout}, but must lie in 0..1, below 1")


class CaptionLstm(Captioner):
    """The network."""

    config: CaptionLstmConfig
    decoder: AttentionLstm

    def __init__(self, config: CaptionLstmConfig, size: int, fresh: bool = True) -> None:
        super().__init__(config, ImageEncoder.of(config, size, fresh), size)
        self.decoder = AttentionLstm(
            self.tokenizer.vocabulary, self.image_encoder.local_dim, config.embedding, config.hidden, config.attention,
            config.dropout,
        )  # fmt: skip

    def tell(self, cells: Tensor, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Hidden states, and how unevenly a report looks at the image."""
        read = self.decoder.read_all(cells, ids)
        return {"states": read.states, "uncovered": uncovered(read.attention, mask)}

    def next_words(self, states: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.decoder.next_word(states)
        return logits

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """The mean over all words, and the penalty's mean over the reports."""
        terms = super().contrast(encoded)
        if self.config.coverage:
            terms["coverage"] = self.config.coverage * encoded["uncovered"].mean()
        return terms


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> CaptionLstm:
    """A Caption-LSTM for images of `size`, which needs no `knowledge`; with a saved one's `state` none are fetched."""
    return CaptionLstm(CaptionLstmConfig(**config), size, fresh=state is None)
