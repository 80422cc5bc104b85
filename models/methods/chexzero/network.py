"""CheXzero: CLIP, trained on with images and the impressions of their reports (Tiu et al., Nat. Biomed. Eng. 2022).

The state dict has the names of open_clip's CLIP. Where paper and released code differ, the default is the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.dual_encoder import DualEncoder
from models.encoders.attention import attention_maps
from models.encoders.clip import CLIP, ClipImageEncoder, ClipTextEncoder, ProjectedImageEncoder, load_clip
from models.encoders.fusion.region_selection import SelectedRegions, attention_product, strongest_patches, take_tokens
from models.losses.info_nce import info_nce
from models.method import Batch, Method, TextSource, TextTokenizer, Tokens
from models.methods.chexzero.config import ChexzeroConfig
from models.text.prompts import PromptPair
from models.text.tokenizer import tokenizer


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
        """Vectors of the images and of their impressions, each (batch, embedding), not normalised."""
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

    def selected_regions(self, images: Tensor, prompts: Sequence[str]) -> SelectedRegions:
        """The region that each head of the image tower selects, for comparison with LRCLR (figure 5 of its paper).

        The attention matrices of all layers are multiplied. In the place of attention to a prompt stand the softmaxed
        cosines of the regions with it, as CheXzero has no layers over both.
        """
        vit = getattr(self.visual, "network", self.visual)
        prepared = self.prepare(images)
        product = attention_product(reversed(attention_maps(vit, prepared)))
        score, index = strongest_patches(product, int(getattr(vit, "num_prefix_tokens", 1)))
        _, local, grid = self.project_images(prepared)
        chosen = F.normalize(take_tokens(local, index).float(), dim=-1)  # (batch, heads, embedding)
        cosines = self.embed_texts(prompts) @ chosen.mT
        return SelectedRegions(index, grid, cosines.softmax(-1), score)

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
        if fresh:  # a saved network has been trained so
            visual.expect_stage(settings.image_encoder, settings.image_stage)
    method = Chexzero(settings, size, tokenizer(settings.text_tokenizer, settings.context), visual)
    if settings.weights and fresh:
        load_clip(method if visual is None else nn.ModuleDict({"text": method.text}), settings.weights)
    return method
