"""MGCA: images and reports meet at three levels (Wang et al., "Multi-Granularity Cross-modal Alignment for Generalized
Medical Visual Representation Learning", NeurIPS 2022, arXiv 2210.06044).

Instances: the vectors of image and report. Tokens: patches and words, within a pair. Prototypes: clusters of diseases,
to which image and report belong alike. Where paper and released code differ, the default is the paper's, and an option
gives the code's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.dual_encoder import DualEncoder
from models.encoders.fusion.cross_attention import CrossAttention
from models.encoders.heads.mgca_projection import ProjectionHead
from models.encoders.heads.token_mean import token_mean
from models.encoders.image import ImageEncoder, ImageFeatures
from models.encoders.text import TextEncoder, TextFeatures
from models.errors import ModelError
from models.losses.info_nce import info_nce
from models.losses.precision import unit_rows
from models.losses.prototype_alignment import prototype_alignment
from models.losses.token_alignment import attention_weights, token_alignment
from models.method import Batch, TextSource, Tokens, WordMaps, ZeroShot
from models.methods.mgca.config import MgcaConfig
from models.text.cleaning import words_only
from models.text.prompts import PromptPair
from models.text.tokenizer import WordPieceTokenizer
from models.text.words import aggregate, aggregate_shifted


@dataclass(frozen=True)
class Report:
    """The output of the text tower, before any projection."""

    vector: Tensor  # (batch, width) of the whole
    words: Tensor  # (batch, length, width), [CLS] left out, then zeros
    attention: Tensor  # (batch, length) from [CLS] in the last layer, mean over the heads, no gradient
    mask: Tensor  # (batch, length), True for a word


class Mgca(DualEncoder):
    """The network."""

    grey_mean = grey_std = 255 / 2  # to -1..1
    colours = (grey_mean,) * 3, (grey_std,) * 3
    continues: Tensor  # (vocabulary,)

    def __init__(
        self, config: MgcaConfig, image_encoder: Any, text_encoder: Any, tokenizer: WordPieceTokenizer, size: int
    ) -> None:
        super().__init__()
        self.prompts = PromptPair(config.positive_prompt, config.negative_prompt)
        self.config, self.size, self.channels = config, size, config.channels
        self.texts = TextSource(
            tokenizer, tuple(config.sections.split("+")), cleaning="words", minimum_words=2,
            minimum_report_words=config.minimum_report_words,
        )  # fmt: skip
        self.end, self.tokenizer = tokenizer.end, tokenizer
        self.register_buffer("continues", tokenizer.continues, persistent=False)
        self.image_encoder, self.text_encoder = image_encoder, text_encoder
        self.image_head = ProjectionHead(image_encoder.dim, config.hidden, config.dim)
        self.report_head = ProjectionHead(text_encoder.dim, config.hidden, config.dim)
        if config.token_weight:
            self.patch_head = ProjectionHead(image_encoder.local_dim, config.hidden, config.dim)
            self.word_head = ProjectionHead(text_encoder.dim, config.hidden, config.dim)
            attention = config.dim, config.attention_heads, config.attention_temperature
            self.look_at_patches = CrossAttention(*attention)
            if config.bidirectional:
                self.look_at_words = CrossAttention(*attention)
        if config.prototype_weight:
            self.prototypes = nn.Linear(config.dim, config.prototypes, bias=False)
        self.register_load_state_dict_pre_hook(_rename_saved_head)

    def prepare(self, images: Tensor) -> Tensor:
        """Grey levels 0..255 (batch, 1, side, side) to -1..1, enlarged for a residual network."""
        images = super().prepare(images)
        if self.image_encoder.transformer or not self.config.upsampled:
            return images
        return F.interpolate(images, size=(self.config.upsampled,) * 2, mode="bilinear", align_corners=True)

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Vectors of images and reports (batch, dim), and the loss of each pair's tokens (batch,)."""
        assert batch.tokens is not None
        images = self.image_encoder(self.prepare(batch.images), attention=bool(self.config.token_weight))
        return self.represent(images, self.read(batch.tokens))

    def read(self, tokens: Tokens) -> Report:
        """The text tower."""
        return self.report_of(self.text_encoder(tokens, attention=True), tokens)

    def report_of(self, features: TextFeatures, tokens: Tokens) -> Report:
        """The words of the text encoder's output for `tokens`."""
        assert features.attention is not None
        states, attention, ids, mask = features.tokens, features.attention.mean(1), tokens.ids, tokens.mask
        if self.config.padding == "negatives":  # the code pads every report to the same length
            room = (0, self.config.text_length - ids.shape[1])
            states, attention = F.pad(states, (0, 0, *room)), F.pad(attention, room)
            ids, mask = F.pad(ids, room), F.pad(mask, room)
        if self.config.words == "shifted":
            longest = self.config.text_length
            words, weights, present = aggregate_shifted(states, attention, ids, self.continues, mask, longest)
        else:
            within = mask & (ids != self.end)
            words, present = aggregate(states, ids, self.continues, within)
            weights = aggregate(attention[..., None], ids, self.continues, within)[0][..., 0]
        words, present = words[:, 1:], present[:, 1:]
        vector = states[:, 0] if self.config.text_pooling == "cls" else token_mean(words, present)
        return Report(vector, words, weights[:, 1:].detach(), present)

    def represent(self, images: ImageFeatures, report: Report) -> dict[str, Tensor]:
        """`encode`, from the outputs of the encoders."""
        encoded = {
            "images": unit_rows(self.image_head(images.pooled)),
            "reports": unit_rows(self.report_head(report.vector)),
        }
        return encoded | (self.align(images, report) if self.config.token_weight else {})

    def align(self, images: ImageFeatures, report: Report) -> dict[str, Tensor]:
        """Losses (batch,) of words that look at patches, and of patches that look at words."""
        config, mask = self.config, report.mask
        patches, words = self.project_patches(images), self.project_words(report)
        everywhere = torch.ones_like(patches[..., 0], dtype=torch.bool)
        negatives = mask if config.padding == "masked" else torch.ones_like(mask)
        seen = unit_rows(self.look_at_patches(words, patches))
        weights = attention_weights(report.attention, mask, config.token_weights == "clipped")
        losses = {"words": token_alignment(words, seen, weights, negatives, config.token_temperature)}
        if config.bidirectional:
            seen = self.look_at_words(patches, words, mask)
            seen = unit_rows(seen) if config.normalised_words else seen
            weights = self.patch_weights(images, patches) * mask.any(1, keepdim=True)
            losses["patches"] = token_alignment(patches, seen, weights, everywhere, config.token_temperature)
        return losses

    def patch_weights(self, images: ImageFeatures, patches: Tensor) -> Tensor:
        """Residual networks have no attention: their patches weigh alike, and 1 together."""
        attention, clipped = images.attention, self.config.token_weights == "clipped"
        if attention is None:
            attention = torch.full_like(patches[..., 0], 1 / patches.shape[1])
        return attention_weights(attention, torch.ones_like(attention, dtype=torch.bool), clipped)

    def project_patches(self, images: ImageFeatures) -> Tensor:
        """(batch, patches, dim), L2-normalised."""
        return unit_rows(self.patch_head(images.local))

    def project_words(self, report: Report) -> Tensor:
        """(batch, length, dim), L2-normalised; what stands at the padding means nothing."""
        return unit_rows(self.word_head(report.words, report.mask if self.config.padding == "masked" else None))

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """Instance (equations 1 and 2), token (5) and prototype loss (8), weighted."""
        config, share = self.config, 0.5 if self.config.directions == "mean" else 1.0
        together = config.contrasted or len(encoded["images"])
        pairs = list(zip(encoded["images"].split(together), encoded["reports"].split(together), strict=True))
        terms = {}
        if config.instance_weight:
            losses = [info_nce(*pair, config.instance_temperature, share, share) for pair in pairs]
            terms["instance"] = config.instance_weight * torch.stack(losses).mean()
        for side in ("words", "patches"):
            if side in encoded:
                weight = config.token_weight * (share if config.bidirectional else 1.0)
                terms[side] = weight * encoded[side].mean()
        if config.prototype_weight:
            losses = [self.align_prototypes(*pair) for pair in pairs]
            terms["prototype"] = config.prototype_weight * torch.stack(losses).mean()
        return terms

    def align_prototypes(self, images: Tensor, reports: Tensor) -> Tensor:
        """Prototype loss of vectors (batch, dim)."""
        config = self.config
        return prototype_alignment(
            images, reports, self.normalise_prototypes(), config.prototype_temperature, config.epsilon,
            config.sinkhorn_iterations,
        )  # fmt: skip

    def normalise_prototypes(self) -> Tensor:
        """(prototypes, dim), brought back to unit length in place before they are used."""
        with torch.no_grad():
            self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=-1))
        return self.prototypes.weight

    def on_gradients(self, epoch: float) -> None:
        """Prototypes get no gradient in the first epochs, while images and reports are not aligned yet."""
        if self.config.prototype_weight and epoch < self.config.frozen_prototype_epochs:
            self.prototypes.weight.grad = None

    def project_images(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Network input -> images (batch, dim), patches (batch, patches, dim) and their grid."""
        features = self.image_encoder(images)
        local = (self.patch_head if self.config.token_weight else self.image_head)(features.local)
        return self.image_head(features.pooled), local, features.grid

    def project_texts(self, tokens: Tokens) -> Tensor:
        """(texts, dim)."""
        return self.report_head(self.read(tokens).vector)

    def zero_shot(self, images: Tensor, queries: Sequence[str]) -> ZeroShot:
        """Scores: cosines with the prompts. Maps: where the words of the positive prompts look, mean over them."""
        if not self.config.token_weight:
            return super().zero_shot(images, queries)
        features = self.image_encoder(self.prepare(images))
        vectors, sides = unit_rows(self.image_head(features.pooled)), self.prompt_vectors(queries)
        prompts = [self.prompts.fill(query)[0] for query in queries]
        report = self.read_texts([text for group in prompts for text in group])
        maps = self._look(self.project_patches(features), self.project_words(report), report.mask)
        groups = maps.split([len(group) for group in prompts], dim=1)
        located = torch.stack([group.mean(1) for group in groups], dim=1)
        return ZeroShot(self.presence(*(vectors @ side.T for side in sides)), located.unflatten(-1, features.grid))

    def _look(self, patches: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """(batch, texts, patches): attention of every text's words to every image's patches, mean over the words."""
        every = words.flatten(0, 1).expand(len(patches), -1, -1)
        attention = self.look_at_patches.weights(every, patches).unflatten(1, mask.shape)
        return (attention * mask[..., None]).sum(2) / mask.sum(1).clamp_min(1)[:, None]

    def read_texts(self, texts: Sequence[str]) -> Report:
        """`read`, cleaned as in training."""
        assert self.texts is not None
        return self.read(self.texts.tokens(texts, self.continues.device))

    def word_attention(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """Attention of each word of a text over its image, for figures.

        Grey levels (batch, 1, side, side) and as many texts -> (batch, words, rows, columns), each word's summing to 1,
        in the order of `WordPieceTokenizer.words(words_only(text))`; texts with fewer words than others end in zeros.
        """
        if not self.config.token_weight:
            raise ModelError("mgca: with a token_weight of 0 words were never trained to look at patches")
        features, report = self.image_encoder(self.prepare(images)), self.read_texts(texts)
        attention = self.look_at_patches.weights(self.project_words(report), self.project_patches(features))
        return (attention * report.mask[..., None]).unflatten(-1, features.grid)

    def phrase_maps(self, images: Tensor, phrases: Sequence[str]) -> Tensor:
        """Where the words look, mean over them; without the token loss the cosines of the locations."""
        return (
            self.word_maps(images, phrases).mean() if self.config.token_weight else super().phrase_maps(images, phrases)
        )

    def word_maps(self, images: Tensor, sentences: Sequence[str]) -> WordMaps:
        """`word_attention`, with the words."""
        if not self.config.token_weight:
            return super().word_maps(images, sentences)
        words = [self.tokenizer.words(words_only(sentence)) for sentence in sentences]
        return WordMaps(words, self.word_attention(images, sentences))


def _rename_saved_head(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
    """Weights saved by earlier versions call the image head `film_head`."""
    old = f"{prefix}film_head."
    for name in [name for name in state if name.startswith(old)]:
        state[f"{prefix}image_head.{name.removeprefix(old)}"] = state.pop(name)


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> Mgca:
    """An MGCA for images of `size`; with the `state` of a saved one no weights are fetched. It reads no `knowledge`."""
    settings, fresh = MgcaConfig(**config), state is None
    stage = settings.image_stage if settings.token_weight else 0
    images = ImageEncoder(
        settings.image_encoder, size, settings.image_weights if fresh else "", stage, channels=settings.channels
    )
    texts = TextEncoder(settings.text_encoder, fresh, settings.text_layers, positions=settings.token_positions)
    return Mgca(settings, images, texts, WordPieceTokenizer(settings.text_encoder, settings.text_length), size)
