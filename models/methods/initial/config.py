"""What all systems of an image encoder alone have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from store.settings import setting

# No step is taken; a batch of one fits every dataset.
UNTRAINED: dict[str, Any] = {"epochs": 0, "batch_size": 1, "input_size": 224, "schedule": "constant"}


@dataclass(frozen=True)
class EncoderSettings:
    """An image encoder alone."""

    image_encoder: str = setting(
        "resnet50", "Image encoder: a timm name, or `vit/4x128p8` for a small ViT from scratch."
    )
    channels: int = setting(
        3,
        "Channels of the image encoder: 1, or 3 for a grey image in each colour, as in the papers' code.",
        choices=(1, 3),
    )

    @property
    def variant(self) -> str:
        """The encoder's name, which a result of this system carries."""
        return self.image_encoder.replace("/", "-")
