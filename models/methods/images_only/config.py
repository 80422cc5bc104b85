"""Settings that methods of images alone have in common. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import ModelError
from store.settings import setting

HEADS = ("linear", "mlp", "mlp_without_bias", "google")  # models.encoders.heads.contrastive_head


@dataclass(frozen=True)
class ImagesOnlySettings:
    """Image encoder, projection and temperature."""

    image_encoder: str = setting("resnet50", "A timm encoder, or `vit/4x128p8` for a small ViT from scratch.")
    image_weights: str = setting(
        "imagenet",
        "Weights to start from: `imagenet`, as in LoVT's SimCLR; empty for random ones, as in the codes of SimCLR and "
        "MoCo; or the path of a checkpoint.",
    )
    channels: int = setting(
        1, "Channels of the image encoder: 1, or 3 for a grey image in each colour, as released.", choices=(1, 3)
    )
    image_stage: int = setting(0, "The residual stage whose features are pooled; 0 for the last.", least=0)
    output_stride: int = setting(
        32, "Pixels per location of the last feature map; 8 or 16 refine it by dilation.", choices=(8, 16, 32)
    )
    head: str = setting(
        "mlp",
        "Projection, which is left out after the training: `mlp` (sthalles/SimCLR, MoCo v2), `mlp_without_bias` (LoVT, "
        "as recalled), `google` (google-research/simclr) or `linear` (MoCo v1).",
    )
    dimension: int = setting(128, "Width of the vectors that are contrasted.", least=1)
    temperature: float = setting(0.1, "Temperature of the loss.", above=0.0)

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise ModelError(f"head is one of {', '.join(HEADS)}, not `{self.head}`")
