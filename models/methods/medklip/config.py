"""Settings of MedKLIP, and how its paper trains it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.errors import ModelError
from store.settings import setting

# Section 4 of the paper. What it does not say is the code's: the schedule, weight decay, and the augmentation, whose
# flips contradict the positions; ours swap them.
TRAINING: dict[str, Any] = {
    "input_size": 224,
    "batch_size": 32,  # 48 in the code
    "epochs": 60.0,  # 100 in the code
    "optimizer": "adamw",
    "learning_rate": 1e-4,
    "final_learning_rate": 1e-5,
    "weight_decay": 0.02,
    "decay": "matrices",
    "last_batch": "drop",
    "schedule": "cosine",
    "warmup_epochs": 5.0,  # 500 steps in the code
    "warmup_start": 0.1,
    "augmentation": {
        "crop_scale": 0.2,
        "random_operations": 2,
        "random_magnitude": 7.0,
        "horizontal_flip": 0.5,
        "flip_sides": "swap",
    },
    "method_config": {"channels": 3},  # of the code; a network that does not say has one
}


@dataclass(frozen=True)
class MedklipConfig:
    """MedKLIP's settings. The defaults are the paper's, or the code's where the paper does not say."""

    image_encoder: str = setting(
        "resnet50",
        "A timm encoder, ViTs included, or `vit/4x128p8`: 4 blocks of width 128, patches of 8, from scratch.",
    )
    image_stage: int = setting(
        3,
        "The residual stage whose locations are used: 14 x 14 at 224 pixels for stage 3. A ViT has its patches.",
        least=0,
    )
    output_stride: int = setting(
        32,
        "Pixels per location of a residual network's last feature map; 8 or 16 refine it by dilation.",
        choices=(8, 16, 32),
    )
    image_weights: str = setting(
        "",
        "Weights of the image encoder: empty for random ones (as in the authors' code; the paper names none), "
        "`imagenet`, or the path of a checkpoint.",
    )
    channels: int = setting(
        1,
        "Channels of the image encoder: 1, or 3 for a grey image in each colour, as in the released code.",
        choices=(1, 3),
    )
    text_encoder: str = setting(
        "emilyalsentzer/Bio_ClinicalBERT",
        "Frozen text encoder of the descriptions: hub name, local folder, or all-MiniLM-L6-v2 (bundled).",
    )
    text_pooling: str = setting("cls", "Vector of a text: `cls`, or the `mean` over its tokens.")
    description_tokens: int = setting(128, "Tokens of a description; longer ones are cut.", least=1)
    test_description_tokens: int = setting(
        0, "Tokens of a description at test; 0 for as many as in training. The authors' code takes 64.", least=0
    )
    centre_texts: bool = setting(
        False, "Subtract the mean vector of the entities, which says only that all of them are findings."
    )
    width: int = setting(256, "Width of queries and decoder.", least=1)
    heads: int = setting(4, "Attention heads of the decoder.", least=1)
    layers: int = setting(4, "Layers of the decoder.", least=1)
    feed_forward: int = setting(1024, "Hidden width of the decoder's feed-forward layers.", least=1)
    dropout: float = setting(0.1, "Dropout of the decoder.", least=0.0)
    negatives: int = setting(7, "Negative positions per positive one in the position loss.", least=0)
    negative_scope: str = setting(
        "entity",
        "Negative positions are those without the same `entity`, or without any in the `matrix`, as in the code before "
        "5f461ec.",
    )
    existence_head: str = setting(
        "scalar", "`scalar`: the paper's binary cross-entropy; `softmax`: the code's two-way softmax."
    )
    excluded_entities: str = setting(
        "", "Entities that the losses leave out, separated by commas (an option of the code)."
    )
    unseen_queries: str = setting(
        "apart", "`apart`: training queries do not attend to unseen ones; `joined`: they do, as in the code."
    )
    describe: bool = setting(True, "Queries are descriptions; off: the bare names of entities (the paper's ablation).")
    named: bool = setting(
        False, "Queries are `name: description`, with which a small text encoder finds the entity that a text names."
    )
    initialisation: str = setting(
        "normal", "`normal`: N(0, 0.02) as in the code, for the paper's widths; `xavier`: for small ones."
    )
    position_weight: float = setting(
        1.0, "Weight of the position loss; 0 leaves it out (the paper's ablation).", least=0.0
    )

    def __post_init__(self) -> None:
        for name, choices in {
            "existence_head": ("scalar", "softmax"),
            "initialisation": ("normal", "xavier"),
            "text_pooling": ("cls", "mean"),
            "negative_scope": ("entity", "matrix"),
            "unseen_queries": ("apart", "joined"),
        }.items():
            if getattr(self, name) not in choices:
                raise ModelError(f"medklip: {name} is `{'` or `'.join(choices)}`, not `{getattr(self, name)}`")
