"""Settings of ConVIRT, and how its paper trains it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.errors import ModelError
from store.settings import setting

# Appendix A of the paper. It mirrors images whose reports say left and right; here the words are swapped too
# (flip_sides).
TRAINING: dict[str, Any] = {
    "input_size": 224,
    "epochs": 200.0,  # never reached: the validation loss stops falling before
    "batch_size": 32,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "final_learning_rate": 0.0,
    "weight_decay": 1e-6,
    "decay": "all",  # torch's default; the paper does not say
    "warmup_epochs": 0.0,
    "schedule": "plateau",
    "plateau_patience": 5,
    "plateau_factor": 0.5,
    "early_stop": 10,
    "augmentation": {
        "crop_scale": 0.6,
        "horizontal_flip": 0.5,
        "rotation": 20.0,
        "translation": 0.1,
        "scaling": 0.05,
        "brightness": 0.4,
        "contrast": 0.4,
        "blur": 3.0,
    },
    "method_config": {"channels": 3},  # of the code; a network that does not say has one
}


@dataclass(frozen=True)
class ConvirtConfig:
    """ConVIRT's settings. The defaults are the paper's (section 3 and appendix A)."""

    image_encoder: str = setting("resnet50", "A timm encoder, or `vit/4x128p8` for a small ViT from scratch.")
    image_weights: str = setting(
        "imagenet",
        "Weights of the image encoder: empty for random ones (ConVIRT-pytorch), `imagenet`, or a checkpoint's path.",
    )
    channels: int = setting(
        1,
        "Channels of the image encoder: 1, or 3 for a grey image in each colour, as in the released code.",
        choices=(1, 3),
    )
    image_stage: int = setting(0, "The residual stage whose features are pooled; 0 for the last.", least=0)
    output_stride: int = setting(
        32, "Pixels per location of the last feature map; 8 or 16 refine it by dilation.", choices=(8, 16, 32)
    )
    text_encoder: str = setting(
        "emilyalsentzer/Bio_ClinicalBERT",
        "Text encoder: hub name, local folder, all-MiniLM-L6-v2, or `bert/2x128` for a small one from scratch.",
    )
    frozen_layers: int = setting(
        6,
        "Layers of the text encoder that are not trained, counted from below, embeddings included; 0 for none.",
        least=0,
    )
    sections: str = setting(
        "findings+impression",
        "Sections of the report from which a sentence is sampled, joined by +; `a/b` takes b where the reports have no "
        "section a.",
    )
    maximum_tokens: int = setting(128, "Tokens of a sentence; longer ones are cut.", least=1)
    text_pooling: str = setting(
        "max", "Pooling over the tokens: `max`, or `mean` (ConVIRT-pytorch). Padding is left out."
    )
    detach_text: bool = setting(
        False, "Stop the gradient before the text encoder and its projection, as ConVIRT-pytorch does."
    )
    dimension: int = setting(512, "Width of the space that images and sentences share.", least=1)
    positive_prompt: str = setting(
        "{}", "Prompt for the presence of a finding. The directions of several prompts, joined by |, are averaged."
    )
    negative_prompt: str = setting("no {}", "Prompt for the absence of a finding, in the same form.")
    temperature: float = setting(0.1, "Temperature of the contrastive loss.", above=0.0)
    image_weight: float = setting(
        0.75, "Lambda, the weight of the loss from image to text; that from text to image has the rest.", least=0.0
    )

    def __post_init__(self) -> None:
        if self.text_pooling not in ("max", "mean"):
            raise ModelError(f"convirt: text_pooling is `max` or `mean`, not `{self.text_pooling}`")
        if not 0 <= self.image_weight <= 1:
            raise ModelError(f"convirt: image_weight is {self.image_weight}, but must lie in 0..1")
