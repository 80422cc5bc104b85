"""GLoRIA: words look for their regions (Huang et al., ICCV 2021, "GLoRIA: A Multimodal Global-Local Representation
Learning Framework for Label-efficient Medical Image Recognition").

Images and sentences are contrasted twice: by their global vectors, and by how well every word is found in the image.
Where paper and released code differ, the default is the paper's, and an option gives the code's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.dual_encoder import DualEncoder
from models.encoders.image import ImageEncoder
from models.encoders.text import TextEncoder
from models.losses.info_nce import info_nce, matched_pairs, pair_logits
from models.losses.word_region import WordRegionSimilarity
from models.method import Batch, TextSource, Tokens, WordMaps, ZeroShot
from models.methods.gloria.config import GloriaConfig
from models.text.cleaning import words_only
from models.text.gloria_prompts import sample_prompts
from models.text.tokenizer import WordPieceTokenizer
from models.text.words import aggregate

MINIMUM_WORDS = 2  # of a sentence


@dataclass(frozen=True)
class Sentences:
    """The output of the text tower."""

    vectors: Tensor  # (texts, dim) of the whole
    words: Tensor  # (texts, length, dim), [CLS] first, [SEP] last, then zeros
    mask: Tensor  # (texts, length), True for a real word


class Gloria(DualEncoder):
    """The network. Texts are not projected: images are, into the space of the text encoder."""

    continues: Tensor  # (vocabulary,), True for a piece that goes on with the word before it
    grey_mean = grey_std = 255 / 2  # to -1..1
    colours = (grey_mean,) * 3, (grey_std,) * 3

    def __init__(
        self, config: GloriaConfig, image_encoder: ImageEncoder, text_encoder: TextEncoder,
        tokenizer: WordPieceTokenizer, size: int = 224,
    ) -> None:  # fmt: skip
        super().__init__()
        self.config, self.size, self.channels = config, size, config.channels
        sections = tuple(config.sections.split("+"))
        unit = "report" if config.full_report else "sentence"
        self.texts = TextSource(tokenizer, sections, unit, cleaning="words", minimum_words=MINIMUM_WORDS)
        self.image_encoder, self.text_encoder = image_encoder, text_encoder
        self.project_pooled = nn.Linear(image_encoder.dim, text_encoder.dim)
        self.project_regions = nn.Linear(image_encoder.local_dim, text_encoder.dim, bias=False)
        self.register_buffer("continues", tokenizer.continues, persistent=False)
        self.tokenizer = tokenizer
        temperatures = config.attention_temperature, config.word_temperature, config.attention
        self.word_region = WordRegionSimilarity(*temperatures, config.word_aggregation)
        self.zero_shot_word_region = WordRegionSimilarity(*temperatures, config.zero_shot_words)

    def prepare(self, images: Tensor) -> Tensor:
        """Grey levels 0..255 (batch, 1, side, side) -> (batch, 1, upsampled, upsampled) in -1..1."""
        images = super().prepare(images)
        if not self.config.upsampled:
            return images
        side = (self.config.upsampled, self.config.upsampled)
        return F.interpolate(images, size=side, mode="bilinear", align_corners=True)

    def project_images(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Network input -> vectors (batch, dim), regions (batch, regions, dim) and their grid."""
        features = self.image_encoder(images)
        return self.project_pooled(features.pooled), self.project_regions(features.local), features.grid

    def project_texts(self, tokens: Tokens) -> Tensor:
        """(texts, dim)."""
        return self.sentences(tokens).vectors

    def sentences(self, tokens: Tokens, with_cls: bool = False) -> Sentences:
        """The words of texts, whose pieces and last hidden states are summed, and their mean."""
        layers = torch.stack(self.text_encoder(tokens).layers[-self.config.text_layers :])
        summed = layers.sum(0) if self.config.layer_aggregation == "sum" else layers.mean(0)
        words, present = aggregate(summed, tokens.ids, self.continues, tokens.mask)
        positions = torch.arange(words.shape[1], device=words.device)
        before_end = present & (positions < present.sum(1, keepdim=True) - 1)
        real = before_end & (positions > 0)
        if self.config.sentence_pooling == "positions":
            vectors = words.mean(1)
        else:
            vectors = (words * real[..., None]).sum(1) / real.sum(1, keepdim=True).clamp_min(1)
        return Sentences(vectors, words, before_end if with_cls else real)

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Global and local vectors of either side, per pair."""
        assert batch.tokens is not None
        images, regions, _ = self.project_images(self.prepare(batch.images))
        texts = self.sentences(batch.tokens, self.config.cls_in_training)
        return {
            "images": images, "regions": regions, "texts": texts.vectors, "words": texts.words, "mask": texts.mask,
        }  # fmt: skip

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """Global and local loss, each the sum of its two directions."""
        terms = {}
        if self.config.global_weight:
            loss = info_nce(encoded["images"], encoded["texts"], self.config.temperature, 1, 1)
            terms["global"] = self.config.global_weight * loss
        if self.config.local_weight:
            found = self.word_region(encoded["regions"], encoded["words"], encoded["mask"])
            terms["local"] = self.config.local_weight * matched_pairs(found / self.config.temperature, 1, 1)
        return terms

    def similarity(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """(batch, texts): the mean of the global cosine and of how well the words are found."""
        pooled, regions, _ = self.project_images(self.prepare(images))
        return torch.cat([self.match(pooled, regions, part) for part in self._read(texts)], dim=1)

    def match(self, images: Tensor, regions: Tensor, texts: Sentences) -> Tensor:
        """`similarity` of vectors (images, dim) and regions (images, regions, dim) with texts."""
        found = self.zero_shot_word_region(regions, texts.words, texts.mask)
        return (pair_logits(images, texts.vectors, 1) + found) / 2

    def _read(self, texts: Sequence[str]) -> Iterator[Sentences]:
        """Texts, cleaned as in training, in batches."""
        assert self.texts is not None
        for start in range(0, len(texts), self.text_batch):
            tokens = self.texts.tokens(texts[start : start + self.text_batch], self.continues.device)
            yield self.sentences(tokens)

    def prompts_of(self, query: str) -> list[str]:
        """Prompts for a finding: sampled from its combinations, else its name."""
        return sample_prompts(query, self.config.prompts, self.config.prompt_seed) or list(self.prompts.fill(query)[0])

    def zero_shot(self, images: Tensor, queries: Sequence[str]) -> ZeroShot:
        """Scores: the logistic function of a finding's match, which keeps its order and knows no other image.

        Maps: attention over the regions, mean over the words of all prompts of a finding.
        """
        pooled, regions, grid = self.project_images(self.prepare(images))
        prompts = [self.prompts_of(query) for query in queries]
        texts, sizes = self._read_groups(prompts)
        matches = self.class_matches(pooled, regions, texts, sizes)
        if self.config.negatives:
            denials = self._read_groups([self.prompts.fill(query)[1] for query in queries])
            matches = matches - self.class_matches(pooled, regions, *denials)
        if self.config.standardise:
            matches = standardise_scores(matches)
        maps = torch.cat([self.locate(regions, part) for part in texts], dim=1)
        return ZeroShot(matches.sigmoid(), aggregate_groups(maps, sizes, "mean").unflatten(-1, grid))

    def class_matches(
        self, images: Tensor, regions: Tensor, texts: Iterable[Sentences], sizes: Sequence[int]
    ) -> Tensor:
        """(images, groups) match with every group of texts."""
        matches = torch.cat([self.match(images, regions, part) for part in texts], dim=1)
        return aggregate_groups(matches, sizes, self.config.prompt_aggregation)

    def locate(self, regions: Tensor, texts: Sentences) -> Tensor:
        """(images, texts, regions) attention, mean over the words; the regions of a text sum to 1."""
        attention = self.zero_shot_word_region.attend(regions, texts.words, texts.mask)
        counts = texts.mask.sum(1).clamp_min(1)
        return (attention * texts.mask[..., None]).sum(2) / counts[:, None]

    def phrase_maps(self, images: Tensor, phrases: Sequence[str]) -> Tensor:
        """Attention of the words, mean over them."""
        return self.word_maps(images, phrases).mean()

    def word_maps(self, images: Tensor, sentences: Sequence[str]) -> WordMaps:
        """The attention that the local similarity rests on; [CLS] is left out."""
        assert self.texts is not None
        _, regions, grid = self.project_images(self.prepare(images))
        texts = self.sentences(self.texts.tokens(sentences, self.continues.device))
        attention = self.zero_shot_word_region.attend(regions, texts.words, texts.mask)
        own = attention[range(len(sentences)), range(len(sentences))] * texts.mask[..., None]
        words = [self.tokenizer.words(words_only(sentence)) for sentence in sentences]
        return WordMaps(words, own[:, 1:].unflatten(-1, grid))

    def _read_groups(self, groups: Sequence[Sequence[str]]) -> tuple[list[Sentences], list[int]]:
        """The texts of all groups, in batches, and how many each group has."""
        return list(self._read([text for group in groups for text in group])), [len(group) for group in groups]


def aggregate_groups(matches: Tensor, sizes: Sequence[int], aggregation: str) -> Tensor:
    """(images, prompts, ...) -> (images, groups, ...), the `mean` or `max` of groups that stand side by side."""
    groups = matches.split(list(sizes), dim=1)
    return torch.stack([group.mean(1) if aggregation == "mean" else group.amax(1) for group in groups], dim=1)


def standardise_scores(matches: Tensor) -> Tensor:
    """(images, queries) to zero mean and unit std over the images; one image alone is left as it is."""
    if len(matches) < 2:
        return matches
    return (matches - matches.mean(0)) / matches.std(0, correction=0).clamp_min(torch.finfo(matches.dtype).tiny)


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> Gloria:
    """A GLoRIA for images of `size`, which needs no `knowledge`; with a saved one's `state` no weights are fetched."""
    settings = GloriaConfig(**config)
    fresh = state is None
    images = ImageEncoder(
        settings.image_encoder,
        settings.upsampled or size,
        settings.image_weights if fresh else "",
        settings.image_stage,
        channels=settings.channels,
    )
    texts = TextEncoder(settings.text_encoder, weights=fresh)
    return Gloria(settings, images, texts, WordPieceTokenizer(settings.text_encoder, settings.text_length), size)
