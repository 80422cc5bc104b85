"""Settings that the captioning methods share, and how they are trained. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.errors import ModelError
from store.settings import setting

# ConVIRT's paper compares with captioning methods and does not say how it trained them. Images change as for ConVIRT,
# but are not mirrored, because reports say left and right. One learning rate is that of both encoder and decoder.
TRAINING: dict[str, Any] = {
    "input_size": 224,
    "epochs": 200.0,  # never reached: the validation loss stops falling before
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "final_learning_rate": 0.0,
    "weight_decay": 0.0,
    "decay": "all",
    "augmentation": {
        "crop_scale": 0.6,
        "rotation": 20.0,
        "translation": 0.1,
        "scaling": 0.05,
        "brightness": 0.4,
        "contrast": 0.4,
        "blur": 3.0,
    },
    "method_config": {"channels": 3},
}


@dataclass(frozen=True)
class CaptionSettings:
    """The image encoder, and the texts that are written."""

    image_encoder: str = setting("resnet50", "A timm encoder, or `vit/4x128p8` for a small ViT from scratch.")
    image_weights: str = setting(
        "imagenet", "Weights of the image encoder: empty for random ones, `imagenet`, or a checkpoint's path."
    )
    channels: int = setting(
        1, "Channels of the image encoder: 1, or 3 for a grey image in each colour.", choices=(1, 3)
    )
    image_stage: int = setting(0, "The residual stage whose locations are looked at; 0 for the last.", least=0)
    text_tokenizer: str = setting(
        "emilyalsentzer/Bio_ClinicalBERT",
        "Tokenizer whose word pieces are the words: hub name, local folder, or all-MiniLM-L6-v2 (bundled). The papers "
        "have words that occur five times or more.",
    )
    sections: str = setting(
        "findings+impression",
        "Sections of the report that are written, joined by +; `a/b` takes b where the reports have no section a.",
    )
    cleaning: str = setting("none", "`none`, or `words`: lower-case words without punctuation.")
    maximum_tokens: int = setting(128, "Word pieces of a report, start and end included; longer ones are cut.", least=1)

    def __post_init__(self) -> None:
        if self.cleaning not in ("none", "words"):
            raise ModelError(f"cleaning of captions is `none` or `words`, not `{self.cleaning}`")
        if self.maximum_tokens < 3:
            raise ModelError(f"maximum_tokens is {self.maximum_tokens}, but a report has a start, a word and an end")
