"""LRCLR: regions that a vision transformer's heads select, contrasted with the report beside the global CLIP loss.

An add-on to a CLIP-style dual encoder; the paper continues CLIP (as CheXzero does) on MIMIC-CXR. No code was released.
Where the paper is open, the choice is a field of the configuration; what it says twice in two ways:

- the image encoder comes from ImageNet (methods) or from a CLIP checkpoint (experiments): `image_encoder` and
  `start_from`;
- the report is its impression (data) or its findings (encoders): `sections`;
- the image's class token "from the region selection module" is that of the last block run on the selected tokens, as
  in TransFG; an image encoder left as it is keeps CheXzero's zero-shot scores: `rerun_last_block`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.encoders.clip import CLIP, ProjectedImageEncoder, load_clip
from models.encoders.fusion.cross_modality import CrossModality, TextSequence
from models.encoders.fusion.region_selection import Regions, RegionSelection, SelectedRegions
from models.losses.local_alignment import all_pairs_scores, local_alignment, matched_scores
from models.method import Batch, TextTokenizer, ZeroShot
from models.methods.chexzero.network import Chexzero
from models.methods.lrclr.config import LrclrConfig
from models.text.tokenizer import tokenizer


class Lrclr(Chexzero):
    """CheXzero's dual encoder with selected regions and a transformer over them and the text."""

    def __init__(
        self,
        config: LrclrConfig,
        size: int,
        tokenizer: TextTokenizer,
        image_encoder: ProjectedImageEncoder | None = None,
    ) -> None:
        super().__init__(config.clip(), size, tokenizer, image_encoder)
        self.local = config
        vit = getattr(self.visual, "network", self.visual)
        self.selection = RegionSelection(vit, config.rerun_last_block, config.selection_layers == "all")
        self.cross = CrossModality(
            self.visual.dim, self.text.dim, self.selection.heads, tokenizer.length, config.cross_width,
            config.cross_layers, config.cross_heads, config.cross_types, config.cross_positions,
        )  # fmt: skip

    def regions(self, images: Tensor) -> Regions:
        """What is selected in grey levels 0..255 (batch, 1, side, side)."""
        return self.selection(self.visual, self.prepare(images))

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Global vectors (batch, embedding), and v_l and t_l of matched pairs, or the tokens to make all pairs of."""
        assert batch.tokens is not None
        regions, read = self.regions(batch.images), self.text(batch.tokens)
        encoded = {"images": self.visual.project(regions.pooled), "texts": self.text.project(read.pooled)}
        if not self.local.local_weight:
            return encoded
        text = TextSequence(read.tokens, batch.tokens.mask)
        if self.local.local_pairs == "matched":
            visual, textual = self.cross(regions.tokens, text)
            return encoded | {"local_images": visual, "local_texts": textual}
        text = text.padded(self.text.context_length)  # tensors of all processes are joined
        return encoded | {"regions": regions.tokens, "words": text.tokens, "mask": text.mask}

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """CLIP's symmetric loss, and lambda times equation 5."""
        terms = super().contrast(encoded)
        if self.local.local_weight:
            loss = local_alignment(self._local_scores(encoded), self.local.local_reduction)
            terms["local"] = self.local.local_weight * loss
        return terms

    def _local_scores(self, encoded: dict[str, Tensor]) -> Tensor:
        """(images, texts)."""
        if self.local.local_pairs == "matched":
            return matched_scores(encoded["local_images"], encoded["local_texts"], self.local.local_cosine)
        regions, longest = encoded["regions"], int(encoded["mask"].sum(1).max())
        text = TextSequence(encoded["words"][:, :longest], encoded["mask"][:, :longest])

        def cross(images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
            visual, textual = self.cross(regions[images], text.at(texts))
            return visual, textual

        return all_pairs_scores(
            cross, len(regions), self.local.local_chunk, regions.device, cosine=self.local.local_cosine
        )

    def project_images(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """v_g and the selected patches through its projection, a row of as many as there are heads."""
        regions = self.selection(self.visual, images)
        local = regions.tokens[:, 1:]
        return self.visual.project(regions.pooled), self.visual.project(local), (1, self.selection.heads)

    def image_features(self, images: Tensor) -> Tensor:
        """(batch, vision width) class tokens."""
        return self.regions(images).pooled

    def image_maps(self, images: Tensor) -> list[Tensor]:
        """The patch tokens as one map (batch, channels, rows, columns): all of them, none being selected."""
        self.selection.forget()
        return super().image_maps(images)

    def selected_regions(self, images: Tensor, prompts: Sequence[str]) -> SelectedRegions:
        """The regions of images (batch, 1, side, side), and how prompts attend to them in the last cross layer."""
        return self._attend_to_prompts(self.regions(images), prompts)

    def _text_sequence(self, prompts: Sequence[str]) -> TextSequence:
        assert self.texts is not None
        tokens = self.texts.tokens(prompts, next(self.parameters()).device)
        return TextSequence(self.text(tokens).tokens, tokens.mask)

    def _attend_to_prompts(self, regions: Regions, prompts: Sequence[str]) -> SelectedRegions:
        text = self._text_sequence(prompts)
        everyone = torch.zeros(len(regions.tokens), dtype=torch.long, device=regions.tokens.device)
        attention = [self.cross.attention(regions.tokens, text.at(everyone + prompt)) for prompt in range(len(prompts))]
        return SelectedRegions(regions.index, regions.grid, torch.stack(attention, 1), regions.score)

    def phrase_maps(self, images: Tensor, phrases: Sequence[str]) -> Tensor:
        """The phrase's attention to the selected regions, nothing elsewhere."""
        regions = self.regions(images)
        own = torch.arange(len(phrases), device=regions.tokens.device)
        attention = self.cross.attention(regions.tokens, self._text_sequence(phrases).at(own))
        return SelectedRegions(regions.index, regions.grid, attention[:, None], regions.score).maps()[:, 0]

    def zero_shot(self, images: Tensor, queries: Sequence[str]) -> ZeroShot:
        """Scores: CheXzero's, from the global vectors. Maps: the first positive prompt's attention to the regions."""
        regions = self.regions(images)
        pooled = F.normalize(self.visual.project(regions.pooled).float(), dim=-1)
        positive, negative = self.prompt_vectors(queries)
        scores = self.presence(pooled @ positive.T, pooled @ negative.T)
        prompts = [self.prompts.fill(query)[0][0] for query in queries]
        return ZeroShot(scores, self._attend_to_prompts(regions, prompts).maps())


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> Lrclr:
    """An LRCLR for images of `size`; with the `state` of a saved one, no other weights are read."""
    settings, fresh = LrclrConfig(**config), state is None
    encoder = None
    if settings.image_encoder != CLIP:
        weights = settings.image_weights if fresh else ""
        encoder = ProjectedImageEncoder(settings.image_encoder, size, weights, settings.embedding)
    method = Lrclr(settings, size, tokenizer(settings.text_tokenizer, settings.context), encoder)
    if settings.start_from and fresh:
        load_clip(method if encoder is None else nn.ModuleDict({"text": method.text}), settings.start_from)
    return method
