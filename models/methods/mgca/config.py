"""Settings of MGCA, and how its paper trains it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.errors import ModelError
from store.settings import setting

# Section 4.1 and its appendix. What they do not say is the code's: the warm-up from 1e-8, the early stop, and a random
# window of 224 pixels of the image at 256, without a flip.
TRAINING: dict[str, Any] = {
    "optimizer": "adamw",
    "learning_rate": 2e-5,
    "final_learning_rate": 1e-8,
    "weight_decay": 0.05,
    "decay": "all",  # of the code; the paper does not say
    "last_batch": "drop",  # of the code
    "early_stop": 5,
    "schedule": "cosine",
    "warmup_epochs": 20.0,
    "warmup_start": 0.0005,
    "batch_size": 144,
    "epochs": 50,
    "input_size": 224,
    "augmentation": {"window": True},
    # Both of the code; a network that does not say has one channel and reads every report.
    "method_config": {"channels": 3, "minimum_report_words": 3},
}


@dataclass(frozen=True)
class MgcaConfig:
    """MGCA's settings. The defaults are the paper's; what the released code does otherwise is said of each."""

    image_encoder: str = setting(
        "deit_base_patch16_224", "A timm encoder: ViT-B/16 as DeiT trained it; the paper's other branch is resnet50."
    )
    image_weights: str = setting(
        "imagenet", "Weights of the image encoder: empty for random ones, `imagenet`, or the path of a checkpoint."
    )
    channels: int = setting(
        1,
        "Channels of the image encoder: 1, or 3 for a grey image in each colour, as in the released code.",
        choices=(1, 3),
    )
    image_stage: int = setting(
        3, "The stage of a residual network whose locations are the patches: 19 x 19 for images of 299 pixels.", least=0
    )
    upsampled: int = setting(
        299, "Side in pixels to which images are enlarged before a residual network; 0 for not at all.", least=0
    )
    text_encoder: str = setting(
        "emilyalsentzer/Bio_ClinicalBERT",
        "Text encoder: hub name, local folder, all-MiniLM-L6-v2, or `bert/2x128` for a small one from scratch.",
    )
    text_layers: int = setting(0, "Number of first layers of the text encoder to use; 0 for all 12. Code: 6.", least=0)
    token_positions: bool = setting(
        True,
        "Whether the text encoder knows the order of words. Code: off, since it passes the types of tokens for their "
        "positions; every token then stands at the first place and has no type.",
    )
    sections: str = setting(
        "impression+findings", "Sections of the report, joined by +; `a/b` takes b where the reports have no section a."
    )
    minimum_report_words: int = setting(
        0, "Words that a report has at least; shorter ones are left out, and counted. Code: 3.", least=0
    )
    text_length: int = setting(112, "Tokens of a report, [CLS] and [SEP] included; longer ones are cut.", least=1)
    text_pooling: str = setting(
        "cls", "Vector of a report: `cls`, or the mean over its `words`, which a text tower from scratch learns sooner."
    )
    positive_prompt: str = setting(
        "{}", "Prompt for the presence of a finding. The directions of several prompts, joined by |, are averaged."
    )
    negative_prompt: str = setting("no {}", "Prompt for the absence of a finding, in the same form.")
    dim: int = setting(128, "Width of the space that images and reports share.", least=1)
    hidden: int = setting(2048, "Hidden width of the projection heads.", least=1)
    instance_weight: float = setting(
        1.0, "lambda_1, weight of the instance loss (ITA); 0 leaves it out, as in Table 4.", least=0.0
    )
    token_weight: float = setting(1.0, "lambda_2, weight of the token loss (CTA); 0 leaves it out.", least=0.0)
    prototype_weight: float = setting(1.0, "lambda_3, weight of the prototype loss (CPA); 0 leaves it out.", least=0.0)
    instance_temperature: float = setting(0.1, "Temperature tau_1 of the instance loss. Code: 0.07.", above=0.0)
    token_temperature: float = setting(0.07, "Temperature tau_2 of the token loss. Code: 0.1.", above=0.0)
    prototype_temperature: float = setting(0.2, "Temperature tau_3 of the prototype loss.", above=0.0)
    directions: str = setting(
        "mean", "Over image to report and report to image, in the instance and token losses: `mean`. Code: `sum`."
    )
    bidirectional: bool = setting(
        True, "Both directions of the token loss; off: only that of words attending to patches."
    )
    attention_heads: int = setting(
        1, "Heads of the learned cross-attention (equation 4); 0: plain cosines, nothing learned. Code: 0.", least=0
    )
    attention_temperature: float = setting(
        0.1, "Temperature of the cross-attention that is not learned (code).", above=0.0
    )
    token_weights: str = setting(
        "attention",
        "Weights of tokens: `attention`, the encoder's divided by the number of tokens. Code: `clipped`, summing to 1.",
    )
    words: str = setting(
        "own",
        "Attention of a word: its `own`, [SEP] being no word. Code: `shifted` (see `aggregate_shifted` in "
        "models/text/words.py).",
    )
    padding: str = setting(
        "masked", "Padding of reports: `masked`, left out. Code: `negatives`, and part of the words' batch norm."
    )
    normalised_words: bool = setting(
        True, "Cosines of patches with the words they attend to. Code: off for ViT, on for ResNet."
    )
    prototypes: int = setting(500, "Number of prototypes.", least=1)
    epsilon: float = setting(0.05, "Regularisation of the Sinkhorn assignment.", above=0.0)
    sinkhorn_iterations: int = setting(3, "Iterations of the Sinkhorn assignment.", least=1)
    frozen_prototype_epochs: float = setting(1.0, "Epochs at the start in which prototypes get no gradient.", least=0.0)
    contrasted: int = setting(
        0, "Pairs that are contrasted with each other; 0: the whole batch. Code: 72, the half of each process.", least=0
    )

    def __post_init__(self) -> None:
        for name, choices in {
            "directions": ("mean", "sum"),
            "text_pooling": ("cls", "words"),
            "token_weights": ("attention", "clipped"),
            "words": ("own", "shifted"),
            "padding": ("masked", "negatives"),
        }.items():
            if getattr(self, name) not in choices:
                raise ModelError(f"mgca: {name} is {' or '.join(choices)}, not `{getattr(self, name)}`")
        for name in ("instance_temperature", "token_temperature", "prototype_temperature", "attention_temperature"):
            if getattr(self, name) <= 0:
                raise ModelError(f"mgca: {name} divides and has to be above 0, not {getattr(self, name)}")
        if not (self.instance_weight or self.token_weight or self.prototype_weight):
            raise ModelError(
                "mgca: instance_weight, token_weight and prototype_weight are all 0; nothing is left to train"
            )
