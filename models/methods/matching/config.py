"""Settings that methods of matching images and reports have in common. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import ModelError
from store.settings import setting

MEASURES = ("cosine", "order")  # models.losses.negatives.similarities
CELLS = ("gru", "sru")  # models.text.word_sequence
TOTALS = ("mean", "sum")


@dataclass(frozen=True)
class MatchingSettings:
    """Image encoder, and what is read of a report."""

    image_encoder: str = setting("resnet50", "A timm encoder, or `vit/4x128p8` for a small ViT from scratch.")
    image_weights: str = setting(
        "imagenet", "Weights of the image encoder: empty for random ones, `imagenet`, or the path of a checkpoint."
    )
    channels: int = setting(
        1, "Channels of the image encoder: 1, or 3 for a grey image in each colour.", choices=(1, 3)
    )
    image_stage: int = setting(0, "The residual stage whose features are pooled; 0 for the last.", least=0)
    output_stride: int = setting(
        32, "Pixels per location of the last feature map; 8 or 16 refine it by dilation.", choices=(8, 16, 32)
    )
    sections: str = setting(
        "findings+impression",
        "Sections of the report that are read, joined by +; `a/b` takes b where the reports have no section a.",
    )
    unit: str = setting("report", "What is read of them: the whole `report`, or a `sentence`, drawn for every step.")
    maximum_tokens: int = setting(128, "Tokens of a text; longer ones are cut.", least=1)

    def __post_init__(self) -> None:
        if self.unit not in ("report", "sentence"):
            raise ModelError(f"unit is `report` or `sentence`, not `{self.unit}`")


@dataclass(frozen=True)
class HingeSettings(MatchingSettings):
    """Words, prompts, and a hinge loss."""

    text_tokenizer: str = setting(
        "all-MiniLM-L6-v2", "Tokenizer whose word pieces are read; the published codes read whole words."
    )
    margin: float = setting(0.2, "Margin by which a pair is to score higher than others.", least=0.0)
    total: str = setting(
        "mean", "The loss of a batch: `mean` over its pairs, or `sum`, as in the codes: it then grows with the batch."
    )
    ignore_equal_texts: bool = setting(False, "A text of the same words as an image's own is no negative of the image.")
    positive_prompt: str = setting(
        "{}", "Prompt for the presence of a finding. The directions of several prompts, joined by |, are averaged."
    )
    negative_prompt: str = setting("no {}", "Prompt for the absence of a finding, in the same form.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.total not in TOTALS:
            raise ModelError(f"total is one of {', '.join(TOTALS)}, not `{self.total}`")
