"""Settings of CheXzero, and how its paper trains it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.encoders.clip_settings import ClipSettings
from models.errors import ModelError
from store.settings import setting

TRAINING: dict[str, Any] = {
    "views": "frontal+lateral+unknown",  # of the code, which reads every image that it finds
    "input_size": 224,
    "epochs": 4,
    "batch_size": 64,  # the code's default is 16
    "optimizer": "sgd",
    "momentum": 0.9,  # of the code
    "learning_rate": 1e-4,
    "schedule": "constant",
    "warmup_epochs": 0,
    "weight_decay": 0.0,
    "last_batch": "keep",  # of the code
    "augmentation": {"crop_scale": 1.0},  # none: images are only resized
}
SCORES = ("cosines", "scaled", "standardised")


@dataclass(frozen=True)
class ChexzeroConfig(ClipSettings):
    """CheXzero's settings. Sizes are those of OpenAI's CLIP ViT-B/32; the other defaults are the paper's."""

    weights: str = setting(
        "openai",
        "Weights to start from: `openai`, the file of a CLIP (such as CheXzero's), the folder of a run, or empty for "
        "random ones.",
    )
    image_stage: int = setting(
        0, "The stage of a timm residual network whose features are pooled; 0 for the last.", least=0
    )
    missing_text: str = setting(
        "",
        "Text of a report without the `sections`; empty leaves its pair out. The released code has `NO IMPRESSION`.",
    )
    scores: str = setting(
        "cosines",
        "Zero-shot score: `cosines`, softmax of the cosines with both prompts (paper); `scaled`, of these times the "
        "logit scale; `standardised`, an option of the released code.",
    )

    def __post_init__(self) -> None:
        if self.scores not in SCORES:
            raise ModelError(f"chexzero: scores is one of {', '.join(SCORES)}, not `{self.scores}`")
