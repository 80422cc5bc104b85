"""LoVT: regions of an image and sentences of its report find each other (Mueller et al., "Joint Learning of Localized
Representations from Medical Images and Reports", ECCV 2022, arXiv 2112.02889).

Images and reports are contrasted by their global vectors. Within a pair, regions are contrasted with what they gather
from the sentences, and sentences with what they gather from the regions. Where padding counts in the released code, it
does not by default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.dual_encoder import DualEncoder
from models.encoders.fusion.shared_attention import SharedCrossAttention
from models.encoders.heads.attention_pooling import AttentionPooling
from models.encoders.heads.mgca_projection import ProjectionHead
from models.encoders.image import ImageEncoder
from models.encoders.text import TextEncoder
from models.errors import ModelError
from models.losses.contrast.global_contrast import global_contrast
from models.losses.contrast.local_contrast import local_contrast, near_positions
from models.method import Batch, TextSource, Tokens, ZeroShot
from models.text.prompts import PromptPair
from models.text.sentences import join_sentences, pool_sentences, read_sentences
from models.text.tokenizer import WordPieceTokenizer
from store.settings import setting

MINIMUM_WORDS = 3  # of a sentence
MOST_SWAPS = 16  # of sentences; more are as likely as 0.6 ** 16

# The released configuration, with ConVIRT's augmentation. Its cosine falls in every odd epoch and rises in every even
# one; ours falls once. Its 16 batches of 32 for a step do not see each other.
TRAINING: dict[str, Any] = {
    "pair": "study",  # of which the code draws one frontal image per step
    "input_size": 224,
    "epochs": 100.0,  # hardly ever reached
    "batch_size": 32,
    "accumulate": 16,
    "optimizer": "adamw",
    "learning_rate": 1e-4,
    "final_learning_rate": 0.0,
    "weight_decay": 1e-6,
    "decay": "all",  # torch's default
    "schedule": "cosine",
    "warmup_epochs": 0.0,
    "early_stop": 10,
    "augmentation": {
        "crop_scale": 0.6,
        "horizontal_flip": 0.5,
        "rotation": 20.0,
        "translation": 0.1,
        "scaling": 0.05,
        "brightness": 0.4,
        "contrast": 0.4,
        "blur": 3.0,
    },
    "method_config": {"channels": 3},
}


@dataclass(frozen=True)
class LovtConfig:
    """LoVT's settings. The defaults are those of the released configuration, `missing_sentences` aside."""

    image_encoder: str = setting("resnet50", "A timm encoder, or `vit/4x128p8` for a small ViT from scratch.")
    image_weights: str = setting(
        "imagenet", "Weights of the image encoder: empty for random ones, `imagenet`, or the path of a checkpoint."
    )
    channels: int = setting(
        1, "Channels of the image encoder: 1, or 3 for a grey image in each colour, as released.", choices=(1, 3)
    )
    image_stage: int = setting(0, "The residual stage whose locations are the regions; 0 for the last: 7 x 7.", least=0)
    output_stride: int = setting(
        32, "Pixels per location of the last feature map; 8 or 16 refine it by dilation.", choices=(8, 16, 32)
    )
    text_encoder: str = setting(
        "emilyalsentzer/Bio_ClinicalBERT",
        "Text encoder: hub name, local folder, all-MiniLM-L6-v2, or `bert/2x128` for a small one from scratch.",
    )
    frozen_layers: int = setting(
        6,
        "Layers of the text encoder that are not trained, counted from below, embeddings included; 0 for none.",
        least=0,
    )
    sections: str = setting(
        "findings+impression",
        "Sections whose sentences are read, joined by +; `a/b` takes b where the reports have no section a.",
    )
    maximum_tokens: int = setting(512, "Tokens of a report; sentences that do not fit are left out.", least=1)
    swap_probability: float = setting(
        0.6, "Probability that two sentences change places in training, and then that another two do.", least=0.0
    )
    sentence_pooling: str = setting("max", "Vector of a sentence: the `max` or the `mean` over its tokens.")
    missing_sentences: str = setting(
        "left_out",
        "What a report has fewer than others: `left_out`. Code: `zeros`, which enter the batch norm and the mean of "
        "sentences.",
    )
    heads: int = setting(8, "Attention heads of the pooling of regions and of sentences.", least=1)
    hidden: int = setting(2048, "Hidden width of the projection heads.", least=1)
    dimension: int = setting(
        512, "Width of the spaces that images and reports, and regions and sentences share.", least=1
    )
    temperature: float = setting(0.1, "Temperature of the global loss.", above=0.0)
    local_temperature: float = setting(0.3, "Temperature of the local losses.", above=0.0)
    image_weight: float = setting(0.75, "Weight of the global loss of images against reports.", least=0.0)
    report_weight: float = setting(0.25, "Weight of the global loss of reports against images.", least=0.0)
    region_weight: float = setting(0.375, "Weight of each of the two losses of regions; 0 leaves them out.", least=0.0)
    sentence_weight: float = setting(
        0.375, "Weight of each of the two losses of sentences; 0 leaves them out.", least=0.0
    )
    place_weights: str = setting(
        "attention", "Weights of regions and sentences in their losses: `attention`, that of the pooling, or `uniform`."
    )
    near: float = setting(
        0.5,
        "Distance up to which regions are positives of each other, as a share of the grid's diagonal; 0: none are.",
        least=0.0,
    )
    decay: float = setting(1.0, "Regions at distance d count exp(-decay * d) as positives.", least=0.0)
    same_modality: bool = setting(False, "Further negatives are of the own modality.")
    positive_prompt: str = setting(
        "{}", "Prompt for the presence of a finding. The directions of several prompts, joined by |, are averaged."
    )
    negative_prompt: str = setting("no {}", "Prompt for the absence of a finding, in the same form.")

    def __post_init__(self) -> None:
        for name, choices in {
            "sentence_pooling": ("max", "mean"),
            "missing_sentences": ("left_out", "zeros"),
            "place_weights": ("attention", "uniform"),
        }.items():
            if getattr(self, name) not in choices:
                raise ModelError(f"lovt: {name} is `{'` or `'.join(choices)}`, not `{getattr(self, name)}`")
        for name in ("temperature", "local_temperature"):
            if getattr(self, name) <= 0:
                raise ModelError(f"lovt: {name} divides and has to be above 0, not {getattr(self, name)}")
        if not 0 <= self.swap_probability < 1:
            raise ModelError(f"lovt: swap_probability is {self.swap_probability}, but must lie in 0..1, without 1")
        if not any((self.image_weight, self.report_weight, self.region_weight, self.sentence_weight)):
            raise ModelError("lovt: all four weights are 0; nothing is left to train")


@dataclass(frozen=True)
class Pooled:
    """One side of the pairs: local vectors, and what they make together."""

    places: Tensor  # (batch, places, width), 0 where there is none
    mask: Tensor  # (batch, places), True for a place that there is
    vector: Tensor  # (batch, width)
    weights: Tensor  # (batch, places) attention of the pooling
    positives: Tensor  # (places, places) how much each is a positive of another


class Lovt(DualEncoder):
    """The network. A text that is no report, such as a prompt, is split into its sentences."""

    def __init__(
        self, config: LovtConfig, image_encoder: Any, text_encoder: Any, tokenizer: WordPieceTokenizer, size: int = 224
    ) -> None:
        super().__init__()
        self.prompts = PromptPair(config.positive_prompt, config.negative_prompt)
        self.config, self.size, self.channels, self.tokenizer = config, size, config.channels, tokenizer
        sections = tuple(config.sections.split("+"))
        self.texts = TextSource(tokenizer, sections, unit="sentences", minimum_words=MINIMUM_WORDS)
        self.image_encoder, self.text_encoder = image_encoder, text_encoder
        for width in (image_encoder.local_dim, text_encoder.dim):
            if config.heads < 1 or width % config.heads:
                raise ModelError(f"lovt: heads is {config.heads}, but must divide the encoder's width of {width}")
        self.image_pooling = AttentionPooling(image_encoder.local_dim, config.heads)
        self.report_pooling = AttentionPooling(text_encoder.dim, config.heads)
        sizes = config.hidden, config.dimension, False
        self.image_head = ProjectionHead(image_encoder.local_dim, *sizes)
        self.report_head = ProjectionHead(text_encoder.dim, *sizes)
        self.region_head = ProjectionHead(image_encoder.local_dim, *sizes)
        self.sentence_head = ProjectionHead(text_encoder.dim, *sizes)
        self.look = SharedCrossAttention(config.dimension)
        if not config.image_weight and not config.report_weight:
            self.no_space = "image_weight and report_weight 0"

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Global vectors (batch, dimension), and the losses (batch,) of the places of each pair."""
        assert batch.tokens is not None
        tokens = self.reorder(batch.tokens) if self.training else batch.tokens
        return self.represent(self.see(self.prepare(batch.images)), self.read(tokens))

    def see(self, images: Tensor) -> Pooled:
        """Network input, as its regions and what they make together."""
        features = self.image_encoder(images)
        return self.pool_regions(features.local, features.grid)

    def pool_regions(self, regions: Tensor, grid: tuple[int, int]) -> Pooled:
        """The image of `regions` (batch, regions, width) that lie on a grid."""
        near = near_positions(grid, self.config.near, decay=self.config.decay).to(regions.device)
        return self._pool(self.image_pooling, regions, torch.ones_like(regions[..., 0], dtype=torch.bool), near)

    def reorder(self, tokens: Tokens) -> Tokens:
        """The sentences of (batch, sentences, length), with some of them exchanged."""
        order = exchanged_order(tokens.mask.any(2).sum(1), tokens.ids.shape[1], self.config.swap_probability)
        return tokens.apply(lambda tensor: tensor.gather(1, order[..., None].expand_as(tensor)))

    def read(self, tokens: Tokens) -> Pooled:
        """Sentences (batch, sentences, length), which are read together, and what they make together."""
        joined = join_sentences(tokens, self.tokenizer, self.config.maximum_tokens)
        return self.pool_report(self.text_encoder(joined.tokens).tokens, joined.lengths)

    def pool_report(self, states: Tensor, lengths: Tensor) -> Pooled:
        """The report of a text encoder's `states` (batch, positions, width); `lengths` (batch, sentences) in tokens."""
        sentences = pool_sentences(states, lengths, self.config.sentence_pooling)
        itself = torch.eye(lengths.shape[1], device=lengths.device)
        return self._pool(self.report_pooling, sentences, lengths > 0, itself)

    def _pool(self, pooling: AttentionPooling, places: Tensor, mask: Tensor, positives: Tensor) -> Pooled:
        vector, weights = pooling(places, mask, self.config.missing_sentences == "zeros")
        return Pooled(places, mask, vector, weights, positives)

    def represent(self, image: Pooled, report: Pooled) -> dict[str, Tensor]:
        """`encode`, from what the encoders say."""
        vectors = {"images": self.image_head(image.vector), "reports": self.report_head(report.vector)}
        return vectors | self.align(image, report)

    def align(self, image: Pooled, report: Pooled) -> dict[str, Tensor]:
        """The local losses (batch,) that have a weight."""
        config, terms = self.config, {}
        if not self.has_places:
            return {}
        counted: tuple[Tensor | None, Tensor | None] = (image.mask, report.mask)  # in the statistics of batch norm
        if config.missing_sentences == "zeros":
            counted = None, None
        regions, sentences = self.region_head(image.places), self.sentence_head(report.places, counted[1])
        scores = self.look.scores(regions, sentences)
        if config.region_weight:
            seen = self.look.gather(scores, sentences, report.mask, image.mask, counted[0])
            terms["regions"], terms["seen_by_regions"] = self._contrast_places(regions, seen, image)
        if config.sentence_weight:
            seen = self.look.gather(scores.mT, regions, image.mask, report.mask, counted[1])
            terms["sentences"], terms["seen_by_sentences"] = self._contrast_places(sentences, seen, report)
        return terms

    def _contrast_places(self, places: Tensor, seen: Tensor, side: Pooled) -> tuple[Tensor, Tensor]:
        config = self.config
        weights = side.weights if config.place_weights == "attention" else torch.ones_like(side.weights)
        options = config.local_temperature, config.same_modality
        return local_contrast(places, seen, side.positives, weights, side.mask, *options)

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """The two global and the four local losses, weighted."""
        config = self.config
        names = "images", "reports"
        images, reports = (encoded[name] for name in names)
        found = global_contrast(images, reports, config.temperature, config.same_modality)
        terms = dict(zip(names, found, strict=True)) | {
            name: losses.mean() for name, losses in encoded.items() if name not in names
        }
        weights = {"images": config.image_weight, "reports": config.report_weight}
        for name, weight in (("regions", config.region_weight), ("sentences", config.sentence_weight)):
            weights |= {name: weight, f"seen_by_{name}": weight}
        return {name: weights[name] * term for name, term in terms.items() if weights[name]}

    def project_images(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Vectors in the space shared with reports, those of the regions in that shared with sentences, their grid.

        Without local losses, which would train that space, a region is an image of itself alone, and a sentence a
        report.
        """
        features = self.image_encoder(images)
        image = self.pool_regions(features.local, features.grid)
        regions = self.region_head(image.places) if self.has_places else self._alone(features.local)
        return self.image_head(image.vector), regions, features.grid

    def _alone(self, regions: Tensor) -> Tensor:
        """(batch, regions, dimension) of `regions` (batch, regions, width), each as an image of one region."""
        each = self.pool_regions(regions.flatten(0, 1)[:, None], (1, 1))
        return self.image_head(each.vector).unflatten(0, regions.shape[:2])

    @property
    def has_places(self) -> bool:
        """Whether a loss trains the space that regions and sentences share."""
        return bool(self.config.region_weight or self.config.sentence_weight)

    def project_texts(self, tokens: Tokens) -> Tensor:
        """(texts, dimension) of (texts, sentences, length), or of (texts, length): a sentence each."""
        return self.report_head(self.read(_of_sentences(tokens)).vector)

    def project_sentences(self, tokens: Tokens) -> Tensor:
        """(texts, dimension) in the space shared with regions, of (texts, length), a sentence each."""
        if not self.has_places:
            return self.project_texts(tokens)
        return self.sentence_head(self.read(_of_sentences(tokens)).places[:, 0])

    def text_vectors(self, texts: Sequence[str]) -> Tensor:
        """(texts, dimension), not normalised, of texts that are split into their sentences."""
        self.expect_space()
        return self._in_parts(texts, lambda part: self.project_texts(read_sentences(self.source, part, self.device)))

    def embed_sentences(self, sentences: Sequence[str]) -> Tensor:
        """(sentences, dimension) L2-normalised, in the space shared with regions."""
        read = self.source.tokens
        found = self._in_parts(sentences, lambda part: self.project_sentences(read(part, self.device)))
        return F.normalize(found, dim=-1)

    def _in_parts(self, texts: Sequence[str], project: Callable[[Sequence[str]], Tensor]) -> Tensor:
        parts = [project(texts[start : start + self.text_batch]) for start in range(0, len(texts), self.text_batch)]
        return torch.cat(parts).float()

    @property
    def source(self) -> TextSource:
        """What is read of a report."""
        assert self.texts is not None
        return self.texts

    def zero_shot(self, images: Tensor, queries: Sequence[str]) -> ZeroShot:
        """Scores from the global vectors. Maps: cosine of each region with the first positive prompt, from 0 to 1."""
        vectors, regions, grid = self.project_images(self.prepare(images))
        positive, negative = self.prompt_vectors(queries)
        vectors, regions = F.normalize(vectors.float(), dim=-1), F.normalize(regions.float(), dim=-1)
        prompts = self.embed_sentences([self.prompts.fill(query)[0][0] for query in queries])
        maps = (1 + regions @ prompts.T) / 2
        return ZeroShot(
            self.presence(vectors @ positive.T, vectors @ negative.T), maps.transpose(1, 2).unflatten(-1, grid)
        )

    def phrase_maps(self, images: Tensor, phrases: Sequence[str]) -> Tensor:
        """Cosine of each region with the phrase, from 0 (opposite) to 1 (same)."""
        _, regions, grid = self.project_images(self.prepare(images))
        cosines = (F.normalize(regions.float(), dim=-1) * self.embed_sentences(phrases)[:, None]).sum(-1)
        return ((1 + cosines) / 2).unflatten(-1, grid)


def _of_sentences(tokens: Tokens) -> Tokens:
    return tokens if tokens.ids.ndim == 3 else tokens.apply(lambda tensor: tensor[:, None])


def exchanged_order(counts: Tensor, length: int, probability: float) -> Tensor:
    """(batch, length) order of the first `counts` (batch,) of `length` places, in which pairs have changed places.

    One pair changes places with `probability`, then another one with the same probability, and so on.
    """
    batch = len(counts)
    order = torch.arange(length, device=counts.device).repeat(batch, 1)
    going = torch.rand(batch, MOST_SWAPS, device=counts.device).lt(probability).cumprod(1).bool()
    pairs = (torch.rand(batch, MOST_SWAPS, 2, device=counts.device) * counts[:, None, None]).long()
    pairs = torch.minimum(pairs, (counts - 1).clamp_min(0)[:, None, None])  # a product may be rounded up
    for swap in range(MOST_SWAPS):
        chosen = pairs[:, swap]
        swapped = torch.where(going[:, swap, None], chosen.flip(1), chosen)
        order = order.scatter(1, chosen, order.gather(1, swapped))
    return order


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> Lovt:
    """A LoVT for images of `size`, which needs no `knowledge`; with a saved one's `state` no weights are fetched."""
    settings, fresh = LovtConfig(**config), state is None
    images = ImageEncoder.of(settings, size, fresh)
    texts = TextEncoder(settings.text_encoder, fresh, frozen_layers=settings.frozen_layers)
    tokenizer = WordPieceTokenizer(settings.text_encoder, settings.maximum_tokens)
    return Lovt(settings, images, texts, tokenizer, size)
