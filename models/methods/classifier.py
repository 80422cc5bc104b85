"""A classifier of the findings in reports: what supervision by labels gives, beside pretraining on texts.

It is the row "CheXpert Supervised" of ConVIRT's table of retrieval (Zhang et al., arXiv 2010.00747), whose network was
pretrained before: name its weights in `image_weights`. The labels are the findings that the reports affirm and deny.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from models.encoders.image import ImageEncoder
from models.errors import ModelError
from models.losses.existence import existence_loss
from models.method import Batch, Method
from store.settings import setting

TRAINING: dict[str, Any] = {
    "input_size": 224,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "weight_decay": 1e-6,
    "decay": "all",
    "schedule": "plateau",
    "warmup_epochs": 0.0,
    "early_stop": 10,
    "epochs": 50,
    "batch_size": 32,
}
UNMENTIONED = ("absent", "left_out")


@dataclass(frozen=True)
class ClassifierConfig:
    """The classifier's settings. No paper states them; they are those of ConVIRT's fine-tuning where they can be."""

    image_encoder: str = setting("resnet50", "Image encoder: a timm name, or `vit/4x128p8` for a small ViT.")
    image_weights: str = setting(
        "imagenet",
        "Weights to start from: empty for random ones, `imagenet`, or a file, such as the weights of a run of ConVIRT.",
    )
    channels: int = setting(
        3, "Channels of the image encoder: 1, or 3 for a grey image in each colour.", choices=(1, 3)
    )
    unmentioned: str = setting(
        "absent", "Findings that a report does not mention or is not sure of: `absent`, or `left_out` of the loss."
    )

    def __post_init__(self) -> None:
        if self.unmentioned not in UNMENTIONED:
            raise ModelError(f"classifier: unmentioned is `absent` or `left_out`, not `{self.unmentioned}`")


class Classifier(Method):
    """An image encoder and a linear layer with a logit for each entity of the knowledge."""

    reads_targets = True

    def __init__(self, config: ClassifierConfig, image_encoder: ImageEncoder, entities: int, size: int) -> None:
        super().__init__()
        self.config, self.size, self.channels = config, size, config.channels
        self.image_encoder = image_encoder
        self.head = nn.Linear(image_encoder.dim, entities)

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Logits and labels, (batch, entities) each; a finding is present if it is at any position."""
        assert batch.targets is not None
        logits = self.head(self.image_features(batch.images))
        return {"logits": logits, "labels": batch.targets.amax(1)}

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """Binary cross-entropy, mean over the findings of the batch that count."""
        logits, labels = encoded["logits"], encoded["labels"]
        if self.config.unmentioned == "absent":
            labels = labels.clamp(min=0)
        return {"labels": existence_loss(logits[..., None], labels)}


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> Classifier:
    """A classifier of the entities in `knowledge`; with the `state` of a saved one no other weights are read."""
    settings = ClassifierConfig(**config)
    weights = settings.image_weights if state is None else ""
    encoder = ImageEncoder(settings.image_encoder, size, weights, channels=settings.channels)
    entities = sum(entry["kind"] == "entity" for entry in knowledge)
    if not entities:
        raise ModelError("classifier: the knowledge table has no entities; run the asset `knowledge`")
    return Classifier(settings, encoder, entities, size)
