"""Settings of GLoRIA, and how its paper trains it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.errors import ModelError
from store.settings import setting

# The authors' recipe: a random window of 224 pixels of the image at 256, nothing else.
TRAINING: dict[str, Any] = {
    "optimizer": "adam",
    "learning_rate": 5e-5,
    "final_learning_rate": 0.0,
    "beta1": 0.5,
    "beta2": 0.999,
    "weight_decay": 1e-6,
    "decay": "all",  # of the code; the paper does not say
    "last_batch": "drop",  # of the code
    "schedule": "plateau",
    "plateau_factor": 0.5,
    "plateau_patience": 5,
    "warmup_epochs": 0.0,
    "batch_size": 48,
    "epochs": 50,
    "early_stop": 10,
    "clip_norm": 0.25,
    "input_size": 224,
    "augmentation": {"window": True},
    "method_config": {"channels": 3},  # of the code; a network that does not say has one
}


@dataclass(frozen=True)
class GloriaConfig:
    """GLoRIA's settings. The defaults are the paper's; the temperatures are the inverses of the code's 4, 5 and 10."""

    image_encoder: str = setting(
        "resnet50", "A timm encoder, `resnet18/2` for its first two stages, or `vit/4x128p8` for a small ViT."
    )
    image_stage: int = setting(
        3, "The residual stage whose locations are the regions: 19 x 19 for images of 299 pixels.", least=0
    )
    image_weights: str = setting(
        "imagenet", "Weights of the image encoder: empty for random ones, `imagenet`, or the path of a checkpoint."
    )
    channels: int = setting(
        1,
        "Channels of the image encoder: 1, or 3 for a grey image in each colour, as in the released code.",
        choices=(1, 3),
    )
    upsampled: int = setting(
        299, "Side in pixels to which images are enlarged before the encoder; 0 for not at all.", least=0
    )
    text_encoder: str = setting(
        "emilyalsentzer/Bio_ClinicalBERT",
        "Text encoder: hub name, local folder, all-MiniLM-L6-v2, or `bert/2x128` for a small one from scratch.",
    )
    sections: str = setting(
        "impression", "Sections of the report, joined by +; `a/b` takes b where the reports have no section a."
    )
    full_report: bool = setting(False, "Read the sections whole; otherwise every step samples one sentence of them.")
    text_length: int = setting(97, "Tokens of a text, [CLS] and [SEP] included; longer ones are cut.", least=1)
    text_layers: int = setting(4, "Number of last hidden states that make the vector of a token.", least=1)
    layer_aggregation: str = setting("sum", "Aggregation of these hidden states: `sum` or `mean`.")
    sentence_pooling: str = setting(
        "words", "Sentence vector: `words`, the mean over the words; `positions`, over the padding too, as in the code."
    )
    cls_in_training: bool = setting(
        False, "Count [CLS] as a word in training, as the code does; it never counts in classification."
    )
    attention: str = setting(
        "regions",
        "Softmax of the attention: `regions`, over the regions; `words_regions`, over the words first, as in the code.",
    )
    word_aggregation: str = setting(
        "sum", "Aggregation over the exponentials of the words' similarities: `sum` or `mean`."
    )
    attention_temperature: float = setting(0.25, "Temperature tau_1, of words with regions.", above=0.0)
    word_temperature: float = setting(0.2, "Temperature tau_2, of words with their attended regions.", above=0.0)
    temperature: float = setting(0.1, "Temperature tau_3, of images with sentences.", above=0.0)
    global_weight: float = setting(1.0, "Weight of the global loss; 0 leaves it out.", least=0.0)
    local_weight: float = setting(1.0, "Weight of the local loss; 0 leaves it out.", least=0.0)
    prompts: int = setting(
        5,
        "Prompts per finding, sampled from models/text/gloria_prompts.py. With 0, and for findings that it does not "
        "have, the name itself is the prompt.",
        least=0,
    )
    prompt_seed: int = setting(0, "Seed of this sampling.", least=0)
    prompt_aggregation: str = setting("mean", "Aggregation over a finding's prompts: `mean`, or `max` as in the code.")
    zero_shot_words: str = setting(
        "sum", "`word_aggregation` in zero-shot classification: `sum`, `mean`, or `max` as in the code."
    )
    negatives: bool = setting(
        False, "Subtract the match of the prompt `no <finding>`; neither the paper nor the code does so."
    )
    standardise: bool = setting(
        False, "Standardise scores over the images of a call, as the code does. Scores then depend on the other images."
    )

    def __post_init__(self) -> None:
        for name, choices in {
            "layer_aggregation": ("sum", "mean"),
            "sentence_pooling": ("words", "positions"),
            "attention": ("regions", "words_regions"),
            "word_aggregation": ("sum", "mean"),
            "prompt_aggregation": ("mean", "max"),
            "zero_shot_words": ("sum", "mean", "max"),
        }.items():
            if getattr(self, name) not in choices:
                raise ModelError(f"gloria: {name} is one of {', '.join(choices)}, not `{getattr(self, name)}`")
        if min(self.attention_temperature, self.word_temperature, self.temperature) <= 0:
            raise ModelError("gloria: temperatures divide and have to be above 0")
        if self.text_layers < 1:
            raise ModelError(f"gloria: text_layers is {self.text_layers}, but at least one hidden state is needed")
