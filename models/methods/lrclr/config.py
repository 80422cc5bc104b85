"""Settings of LRCLR, and how its paper trains it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from models.encoders.clip_settings import ClipSettings
from models.errors import ModelError
from models.methods.chexzero.config import ChexzeroConfig
from store.settings import setting

TRAINING: dict[str, Any] = {
    "views": "frontal+lateral+unknown",  # the paper counts as many images as MIMIC-CXR has of all views
    "input_size": 224,
    "epochs": 20,
    # Batch size, optimizer, learning rate and the last batch are not in the paper; these are CheXzero's.
    "batch_size": 64,
    "optimizer": "sgd",
    "momentum": 0.9,
    "learning_rate": 1e-4,
    "schedule": "constant",
    "warmup_epochs": 0,
    "weight_decay": 0.0,
    "last_batch": "keep",
    "augmentation": {"crop_scale": 1.0},
    "method_config": {"selection_layers": "all"},  # equation 4; a network that does not say has TransFG's
}


@dataclass(frozen=True)
class LrclrConfig(ClipSettings):
    """LRCLR's settings beside those of its CLIP. Every head of the image tower selects one region.

    The paper leaves the cross-modality transformer open. It names the impression in one place, the findings in another.
    """

    start_from: str = setting(
        "openai",
        "Weights to start from: `openai`, the file of a CLIP (such as CheXzero's), the folder of one of our runs, or "
        "empty for random ones.",
    )
    selection_layers: str = setting(
        "before_last",
        "Attention matrices that are multiplied to select regions: of `all` layers (equation 4), or of those "
        "`before_last`, as in TransFG.",
    )
    rerun_last_block: bool = setting(
        True,
        "v_g is the class token of the last block run on class token and selected patches; off: of the whole image.",
    )
    cross_layers: int = setting(2, "Layers of the cross-modality transformer.", least=1)
    cross_width: int = setting(512, "Width of the cross-modality transformer.", least=1)
    cross_heads: int = setting(8, "Attention heads of the cross-modality transformer.", least=1)
    cross_types: str = setting("learned", "`learned`: a learned vector per modality is added to its tokens; or `none`.")
    cross_positions: str = setting(
        "none", "`learned`: a learned vector per position is added to what the towers know of positions; or `none`."
    )
    local_weight: float = setting(
        0.5, "lambda, weight of the local loss; 0: CheXzero with selected regions.", least=0.0
    )
    local_pairs: str = setting(
        "matched", "`matched`: equation 5 as printed, which can leak; `all`: every image with every text."
    )
    local_reduction: str = setting("sum", "Reduction of the local loss over the batch: `sum` as printed, or `mean`.")
    local_cosine: bool = setting(False, "Cosines instead of the printed inner products.")
    local_chunk: int = setting(256, "Pairs compared at once in the memory, where `local_pairs` is `all`.", least=1)

    def __post_init__(self) -> None:
        if self.selection_layers not in ("all", "before_last"):
            raise ModelError(f"lrclr: selection_layers is `all` or `before_last`, not `{self.selection_layers}`")
        if self.local_pairs not in ("matched", "all"):
            raise ModelError(f"lrclr: local_pairs is `matched` or `all`, not `{self.local_pairs}`")
        if self.local_reduction not in ("sum", "mean"):
            raise ModelError(f"lrclr: local_reduction is `sum` or `mean`, not `{self.local_reduction}`")
        if self.local_chunk < 1:
            raise ModelError(f"lrclr: local_chunk is {self.local_chunk}, but at least one pair is compared at once")

    def clip(self) -> ChexzeroConfig:
        """What the two towers and the global loss share with CheXzero."""
        shared = {field.name: getattr(self, field.name) for field in fields(ClipSettings)}
        return ChexzeroConfig(weights=self.start_from, **shared)
