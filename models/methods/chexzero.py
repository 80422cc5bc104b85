"""CheXzero: CLIP, trained on with films and the impressions of their reports (Tiu et al., Nat. Biomed. Eng. 2022).

The state dict has the names of open_clip's CLIP. Where paper and released code differ, the default is the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.dual_encoder import DualEncoder
from models.encoders.clip import CLIP, ClipImageEncoder, ClipTextEncoder, ProjectedImageEncoder, load_clip
from models.losses.info_nce import info_nce
from models.method import Batch, Method, TextSource, TextTokenizer, Tokens
from models.text.prompts import PromptPair
from models.text.tokenizer import tokenizer

TRAINING: dict[str, Any] = {
    "input_size": 224,
    "epochs": 4,
    "batch_size": 64,  # the code's default is 16
    "optimizer": "sgd",
    "momentum": 0.9,  # of the code; the paper does not say
    "learning_rate": 1e-4,
    "schedule": "constant",
    "warmup_epochs": 0,
    "weight_decay": 0.0,
    "augmentation": {"crop_scale": 1.0},  # none: films are resized only
}
SCORES = ("cosines", "scaled", "standardised")


@dataclass(frozen=True)
class ChexzeroConfig:
    """CheXzero's settings; the sizes are those of OpenAI's CLIP ViT-B/32, the rest is the paper's."""

    weights: str = "openai"  # openai, a CLIP's file (such as CheXzero's), a run's folder, or "" to start at random
    image_encoder: str = "clip"  # clip: CLIP's tower; or one of timm, out of reach of `weights`
    image_weights: str = ""  # of timm's encoder: "" for random ones, imagenet, or a checkpoint's path
    image_stage: int = 0  # of timm's residual network: the stage that is pooled; 0: the last
    vision_layers: int = 12  # of CLIP's tower, as the next three
    vision_width: int = 768
    vision_heads: int = 12
    patch: int = 32  # pixels
    text_layers: int = 12
    text_width: int = 512
    text_heads: int = 8
    text_tokenizer: str = "clip"  # clip, or the WordPiece of a BERT: hub name, folder, or all-MiniLM-L6-v2 (bundled)
    context: int = 77  # tokens of a text, its ends included; longer ones are cut
    embedding: int = 512  # width of the space shared by films and texts
    quick_gelu: bool = True  # OpenAI's approximation of GELU; off for CLIPs trained without it
    sections: str = "impression"  # of the report, joined by +; a/b: b in archives without a
    missing_text: str = ""  # of a report without them; "": its pair is left out; the code's is "NO IMPRESSION"
    first_logit_scale: float = 14.285714  # 1 / 0.07, CLIP's start; `weights` bring their own
    max_logit_scale: float = 100.0  # as CLIP's paper has it; 0: unbounded, as in the code
    positive_prompt: str = "{}"  # several are joined by |, and their directions averaged
    negative_prompt: str = "no {}"
    literal_no_finding: bool = False  # on: "no No Finding", which is the code's and turns it round
    scores: str = "cosines"  # softmax of the two (paper), of them `scaled`, or the code's option `standardised`

    def __post_init__(self) -> None:
        if self.scores not in SCORES:
            raise ValueError(f"chexzero: scores is one of {', '.join(SCORES)}, not `{self.scores}`")
        if self.first_logit_scale <= 0:
            raise ValueError(f"chexzero: first_logit_scale is {self.first_logit_scale}, but must be above 0")


class Chexzero(DualEncoder):
    """CLIP's towers with a learned logit scale."""

    grey_mean, grey_std = 101.48761, 83.43944  # of grey levels 0..255 in their MIMIC-CXR files

    def __init__(
        self, config: ChexzeroConfig, size: int, tokenizer: TextTokenizer, visual: ProjectedImageEncoder | None = None
    ) -> None:
        super().__init__()
        if visual is not None:
            self.grey_mean, self.grey_std = Method.grey_mean, Method.grey_std
        self.config, self.size = config, size
        self.texts = TextSource(tokenizer, sections=tuple(config.sections.split("+")), missing=config.missing_text)
        self.prompts = PromptPair(config.positive_prompt, config.negative_prompt, config.literal_no_finding)
        self.visual: Any = visual or ClipImageEncoder(
            config.vision_layers, config.vision_width, config.vision_heads, config.patch, size, config.embedding,
            config.quick_gelu,
        )  # fmt: skip
        self.text = ClipTextEncoder(
            config.text_layers, config.text_width, config.text_heads, tokenizer.length, tokenizer.vocabulary,
            config.embedding, config.quick_gelu,
        )  # fmt: skip
        self.logit_scale = nn.Parameter(torch.tensor(math.log(config.first_logit_scale)))

    def fitted(self, images: Tensor) -> Tensor:
        """Images of another side than the network's, resized as theirs."""
        if images.shape[-1] == self.size:
            return images
        return F.interpolate(images.float(), size=(self.size, self.size), mode="bicubic", antialias=True)

    def project_images(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Class token and patch tokens, both through the projection of the class token."""
        features = self.visual(images)
        return self.visual.project(features.pooled), self.visual.project(features.local), features.grid

    def project_texts(self, tokens: Tokens) -> Tensor:
        """(texts, embedding) of the end tokens."""
        projected: Tensor = self.text.project(self.text(tokens).pooled)
        return projected

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Vectors of the films and of their impressions, each (batch, embedding), not normalised."""
        assert batch.tokens is not None
        images = self.visual.project(self.visual(self.prepare(batch.images)).pooled)
        return {"images": images, "texts": self.project_texts(batch.tokens)}

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean of the cross-entropies of both directions on cosines times the logit scale."""
        if self.config.max_logit_scale:
            with torch.no_grad():  # the parameter itself, so that its gradient can lead it down again
                self.logit_scale.clamp_(max=math.log(self.config.max_logit_scale))
        return {"contrast": info_nce(encoded["images"], encoded["texts"], temperature=torch.exp(-self.logit_scale))}

    def presence(self, positive: Tensor, negative: Tensor) -> Tensor:
        """(batch, queries) in 0..1 from the cosines with the prompts, as `scores` asks."""
        if self.config.scores == "standardised":  # over the queries of each image; the negative prompts go unheard
            return F.layer_norm(positive, positive.shape[-1:], eps=1e-12).sigmoid()
        scale = self.logit_scale.exp() if self.config.scores == "scaled" else 1.0
        return super().presence(scale * positive, scale * negative)

    def image_features(self, images: Tensor) -> Tensor:
        """(batch, vision width) class tokens."""
        pooled: Tensor = self.visual(self.prepare(images)).pooled
        return pooled

    def image_maps(self, images: Tensor) -> list[Tensor]:
        """Maps (batch, channels, rows, columns) of the image encoder, fine to coarse."""
        return self.visual.maps(self.prepare(images))

    def telemetry(self) -> dict[str, float]:
        """The factor of the cosines."""
        return {"logit_scale": self.logit_scale.exp().item()}


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> Chexzero:
    """A CheXzero for images of `size`; with the `state` of a saved one, no other weights are read."""
    settings, fresh = ChexzeroConfig(**config), state is None
    visual = None
    if settings.image_encoder != CLIP:
        weights = settings.image_weights if fresh else ""
        visual = ProjectedImageEncoder(settings.image_encoder, size, weights, settings.embedding, settings.image_stage)
    method = Chexzero(settings, size, tokenizer(settings.text_tokenizer, settings.context), visual)
    if settings.weights and fresh:
        load_clip(method if visual is None else nn.ModuleDict({"text": method.text}), settings.weights)
    return method
