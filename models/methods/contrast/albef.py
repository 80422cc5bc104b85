"""ALBEF: images and texts are aligned before they are fused (Li et al., "Align before Fuse: Vision and Language
Representation Learning with Momentum Distillation", NeurIPS 2021, arXiv 2107.07651).

Two towers are contrasted, with queues that momentum copies of them fill. The upper layers of the text tower then look
at the image, and tell whether image and text belong together, and which words are hidden. X-REM (rajpurkarlab/X-REM)
trains it on radiographs and impressions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.dual_encoder import DualEncoder
from models.encoders.clip_settings import COLOURS
from models.encoders.fusion.text_fusion import TextFusion
from models.encoders.heads.masked_language import MaskedLanguageHead
from models.encoders.heads.token_mean import token_mean
from models.encoders.image import ImageEncoder
from models.encoders.momentum.average import follow, follower_of
from models.encoders.momentum.queue import KeyQueue
from models.encoders.text import TextEncoder
from models.errors import ModelError
from models.losses.contrast.distilled_contrast import (
    candidate_logits,
    distilled_contrast,
    distilled_targets,
    true_candidates,
)
from models.losses.language.word_entropy import chosen_entropies, distilled_entropies, mean_over_words
from models.losses.negatives.hard_negatives import draw_negatives
from models.losses.precision import at_least_float32, unit_rows
from models.method import Batch, TextSource, Tokens
from models.text.augmentation.masking import Masked, Masking
from models.text.fingerprints import fingerprints
from models.text.prompts import PromptPair
from models.text.tokenizer import WordPieceTokenizer
from store.settings import setting

TEMPERATURES = 0.001, 0.5  # bounds of the learned one
MAP_LAYER = 2  # fusion layer whose attention is a phrase's map, or the last of fewer
MATCHED = 1  # column of the matching logits

# Of the code, on 8 GPUs with 64 pairs each. Its warm-up goes in stairs of 100 steps through the first epoch.
TRAINING: dict[str, Any] = {
    "input_size": 256,
    "batch_size": 512,
    "epochs": 30.0,
    "optimizer": "adamw",
    "learning_rate": 1e-4,
    "final_learning_rate": 1e-5,
    "weight_decay": 0.02,
    "decay": "matrices",
    "last_batch": "drop",
    "schedule": "cosine",
    "warmup_epochs": 1.0,
    "warmup_start": 0.1,
    "augmentation": {
        "crop_scale": 0.2,
        "horizontal_flip": 0.5,
        "random_operations": 2,
        "random_magnitude": 7.0,
    },
    "method_config": {"channels": 3},
}


@dataclass(frozen=True)
class AlbefConfig:
    """ALBEF's settings. The defaults are those of the released code, `maximum_tokens` and `negative_floor` aside."""

    image_encoder: str = setting(
        "deit_base_patch16_224", "A timm encoder: ViT-B/16 as DeiT trained it, or `vit/4x128p8` for a small one."
    )
    image_weights: str = setting(
        "imagenet", "Weights of the image encoder: empty for random ones, `imagenet`, or the path of a checkpoint."
    )
    channels: int = setting(
        1, "Channels of the image encoder: 1, or 3 for a grey image in each colour, as released.", choices=(1, 3)
    )
    image_stage: int = setting(
        0, "The stage of a residual network whose locations are the patches; 0 for the last.", least=0
    )
    output_stride: int = setting(
        32, "Pixels per location of a residual network's last map; 8 or 16 refine it.", choices=(8, 16, 32)
    )
    text_encoder: str = setting(
        "bert-base-uncased",
        "Text encoder: hub name, local folder, all-MiniLM-L6-v2, or `bert/4x128` for a small one from scratch.",
    )
    fusion_layers: int = setting(6, "Layers of the text encoder, counted from above, that look at the image.", least=1)
    sections: str = setting(
        "impression", "Sections of the report, joined by +; `a/b` takes b where the reports have no section a (X-REM)."
    )
    maximum_tokens: int = setting(128, "Tokens of a text; longer ones are cut. Code, also X-REM's: 25.", least=1)
    text_pooling: str = setting(
        "cls",
        "What stands for a text, alone and with an image: `cls`, or the `mean` over its tokens, which a small text "
        "tower learns sooner.",
    )
    dimension: int = setting(256, "Width of the space that images and texts share.", least=1)
    queue: int = setting(65536, "Images and texts of earlier steps that are candidates too.", least=1)
    momentum: float = setting(0.995, "Share of themselves that the momentum towers keep at each step.", least=0.0)
    distillation: float = setting(
        0.4, "Alpha, weight of what the momentum towers think; it rises from 0 in the first epoch. 0: none.", least=0.0
    )
    temperature: float = setting(
        0.07, "Temperature of the contrast at the start; it is learned, from 0.001 to 0.5.", above=0.0
    )
    masked_share: float = setting(0.15, "Share of the tokens that are hidden.", least=0.0)
    contrast_weight: float = setting(1.0, "Weight of the contrast (ITC).", least=0.0)
    matching_weight: float = setting(1.0, "Weight of the matching (ITM); 0 leaves it out.", least=0.0)
    language_weight: float = setting(1.0, "Weight of the hidden words (MLM); 0 leaves them out.", least=0.0)
    negative_floor: float = setting(
        1e-4, "Added to the probability of every negative; with 0, as in the code, none may be left to draw.", least=0.0
    )
    equal_texts: str = setting(
        "negatives",
        "Other pairs with the same text are `negatives`, or `positives`: they share the target, and are not drawn.",
    )
    rerank: int = setting(
        0, "Texts of an image, or all if there are fewer, whose similarity is that of the matching.", least=0
    )
    positive_prompt: str = setting(
        "{}", "Prompt for the presence of a finding. The directions of several prompts, joined by |, are averaged."
    )
    negative_prompt: str = setting("no {}", "Prompt for the absence of a finding, in the same form.")

    def __post_init__(self) -> None:
        for name, choices in {"equal_texts": ("negatives", "positives"), "text_pooling": ("cls", "mean")}.items():
            if getattr(self, name) not in choices:
                raise ModelError(f"albef: {name} is `{'` or `'.join(choices)}`, not `{getattr(self, name)}`")
        for name in ("momentum", "distillation", "masked_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ModelError(f"albef: {name} is {getattr(self, name)}, but must lie in 0..1")
        if self.language_weight and not self.masked_share:
            raise ModelError("albef: masked_share is 0, which hides no word; set language_weight to 0 to tell none")
        if not TEMPERATURES[0] <= self.temperature <= TEMPERATURES[1]:
            raise ModelError(f"albef: temperature is {self.temperature}, but must lie in 0.001..0.5")
        if self.rerank and not self.matching_weight:
            raise ModelError(
                f"albef: rerank is {self.rerank}, but matching_weight is 0, so that the matching is not trained; set "
                "rerank to 0"
            )
        if not any((self.contrast_weight, self.matching_weight, self.language_weight)):
            raise ModelError("albef: all three weights are 0; nothing is left to train")


@dataclass(frozen=True)
class Seen:
    """Images."""

    vectors: Tensor  # (batch, dimension), L2-normalised
    tokens: Tensor  # (batch, 1 + patches, width), the pooled one first
    grid: tuple[int, int]  # rows and columns of the patches


@dataclass(frozen=True)
class Read:
    """Texts."""

    vectors: Tensor  # (texts, dimension), L2-normalised
    states: Tensor  # (texts, length, width) after the text layers


class Towers(nn.Module):
    """Everything that has a momentum copy."""

    def __init__(self, config: AlbefConfig, image_encoder: Any, text_encoder: Any) -> None:
        super().__init__()
        bert = text_encoder.bert
        layers = list(bert.encoder.layer)
        if config.fusion_layers >= len(layers):
            raise ModelError(
                f"albef: fusion_layers is {config.fusion_layers}, but the text encoder has {len(layers)} layers, of "
                "which at least one reads the text alone"
            )
        bert.encoder.layer = nn.ModuleList(layers[: -config.fusion_layers])
        self.image_encoder, self.text_encoder, self.pooling = image_encoder, text_encoder, config.text_pooling
        self.image_projection = nn.Linear(image_encoder.dim, config.dimension)
        self.text_projection = nn.Linear(text_encoder.dim, config.dimension)
        self.fusion = TextFusion(bert.config, layers[-config.fusion_layers :], image_encoder.dim)
        self.language = MaskedLanguageHead(text_encoder.dim, bert.config.vocab_size)

    def see(self, images: Tensor) -> Seen:
        """Network input."""
        features = self.image_encoder(images)
        tokens = torch.cat([features.pooled[:, None], features.local], 1)
        return Seen(unit_rows(self.image_projection(features.pooled)), tokens, features.grid)

    def read(self, tokens: Tokens) -> Read:
        """Texts, by the text layers alone."""
        states = self.text_encoder(tokens).tokens
        return Read(unit_rows(self.text_projection(self.pool(states, tokens.mask))), states)

    def fuse(self, states: Tensor, mask: Tensor, patches: Tensor) -> Tensor:
        """(pairs, width) of texts that have seen an image each."""
        return self.pool(self.fusion(states, mask, patches), mask)

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """(texts, width) of `states` (texts, length, width), of which `mask` (texts, length) are tokens."""
        if self.pooling == "cls":
            return states[:, 0]
        return token_mean(states, mask)

    def tell(self, masked: Masked, seen: Seen) -> Tensor:
        """Logits (hidden tokens, vocabulary) of what is hidden of the texts, whose images are seen."""
        states = self.text_encoder(masked.tokens).tokens
        fused = self.fusion(states, masked.tokens.mask, seen.tokens)[masked.hidden]
        logits: Tensor = self.language(fused, self.text_encoder.bert.embeddings.word_embeddings.weight)
        return logits


class Albef(DualEncoder):
    """The network. Draws of negatives and of hidden words stand beside the losses, which take them as they are."""

    colours = COLOURS
    grey_mean, grey_std = 114.5369, 68.4853  # their means
    progress: Tensor  # scalar: epochs so far, up to 1

    def __init__(
        self, config: AlbefConfig, image_encoder: Any, text_encoder: Any, tokenizer: Any, size: int = 256
    ) -> None:
        super().__init__()
        self.prompts = PromptPair(config.positive_prompt, config.negative_prompt)
        self.config, self.size, self.channels = config, size, config.channels
        self.texts = TextSource(tokenizer, tuple(config.sections.split("+")))
        self.masking = Masking(tokenizer, config.masked_share, whole_words=False)
        self.towers = Towers(config, image_encoder, text_encoder)
        self.average = follower_of(self.towers)
        self.matching = nn.Linear(text_encoder.dim, 2)
        if not config.contrast_weight:
            self.no_space = "contrast_weight 0"
        self.temperature = nn.Parameter(torch.tensor(config.temperature))
        self.image_queue, self.text_queue = (KeyQueue(config.queue, config.dimension) for _ in range(2))
        if config.equal_texts == "positives":
            self.queued_texts = KeyQueue(config.queue, 1)
            self.queued_texts.keys = torch.zeros(config.queue, dtype=torch.long)  # fingerprints; 0: no text
        self.register_buffer("progress", torch.zeros(()))

    def on_step_start(self) -> None:
        """Move the momentum towers, and keep the temperature within its bounds without stopping its gradient there."""
        with torch.no_grad():
            self.temperature.clamp_(*TEMPERATURES)
        follow(self.average, self.towers, self.config.momentum)

    def on_gradients(self, epoch: float) -> None:
        """Remember the epoch, which decides the distillation of the next step."""
        self.progress.fill_(min(epoch, 1.0))

    def on_step_end(self) -> None:
        """Write the queues."""
        self.image_queue.write()
        self.text_queue.write()
        if self.config.equal_texts == "positives":
            self.queued_texts.write()

    @property
    def alpha(self) -> Tensor:
        """Scalar: the weight of what the momentum towers think."""
        return self.config.distillation * self.progress

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Vectors and states of images and texts, and the losses of each pair's hidden words."""
        assert batch.tokens is not None
        masked = None
        if self.config.language_weight:
            masked = self.masking(batch.tokens, self.masking.draw(batch.tokens, self.training))
        return self.represent(self.prepare(batch.images), batch.tokens, masked)

    def represent(self, images: Tensor, tokens: Tokens, masked: Masked | None) -> dict[str, Tensor]:
        """`encode`, of network input and of texts whose hidden words are drawn already."""
        seen, read = self.towers.see(images), self.towers.read(tokens)
        with torch.no_grad():
            key_image, key_text = self.average.see(images), self.average.read(tokens)
        encoded = {
            "images": seen.vectors,
            "texts": read.vectors,
            "key_images": key_image.vectors,
            "key_texts": key_text.vectors,
            "fingerprints": fingerprints(tokens),
        }
        if self.config.matching_weight:
            encoded |= {"patches": seen.tokens, "states": read.states, "mask": tokens.mask}
            encoded["matched"] = self.match(read.states, tokens.mask, seen.tokens)
        if masked is not None:
            encoded |= self._tell(masked, tokens, seen, key_image)
        return encoded

    def _tell(self, masked: Masked, tokens: Tokens, seen: Seen, key_image: Seen) -> dict[str, Tensor]:
        """Summed cross-entropies (batch,) of the hidden words, and how many they are."""
        logits = self.towers.tell(masked, seen)
        sums, counts = chosen_entropies(logits, tokens.ids[masked.hidden], masked.hidden)
        found = {"word_sums": sums, "word_counts": counts}
        if self.config.distillation:
            with torch.no_grad():
                thought = at_least_float32(self.average.tell(masked, key_image)).softmax(-1)
            found["distilled_sums"] = distilled_entropies(logits, thought, masked.hidden)
        return found

    def match(self, states: Tensor, mask: Tensor, patches: Tensor) -> Tensor:
        """(pairs, 2) logits of texts and images that do not, and that do belong together."""
        logits: Tensor = self.matching(self.towers.fuse(states, mask, patches))
        return logits

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """Contrast, matching and hidden words, weighted; in training, keys wait to join the queues."""
        logits, rows = self.similarities(encoded), len(encoded["images"])
        negatives = None
        if self.config.matching_weight and rows > 1:
            equal = self._equal_texts(encoded)
            options = None if equal is None else equal[:, :rows], self.config.negative_floor
            by_image, by_text = (draw_negatives(side[:, :rows], *options) for side in logits)
            negatives = by_text, by_image
        terms = self.losses_of(encoded, logits, negatives)
        if self.training:
            self.enqueue(encoded)
        return terms

    def losses_of(
        self, encoded: dict[str, Tensor], logits: tuple[Tensor, Tensor], negatives: tuple[Tensor, Tensor] | None
    ) -> dict[str, Tensor]:
        """The terms, given the negatives: an image (batch,) for each text, and a text (batch,) for each image."""
        config = self.config
        targets = self.targets(encoded)
        both = [distilled_contrast(side, target) for side, target in zip(logits, targets, strict=True)]
        terms = {"contrast": config.contrast_weight * (both[0] + both[1]) / 2}
        if config.matching_weight:
            pairs = self.match_all(encoded, negatives)
            truth = torch.arange(len(pairs), device=pairs.device) < len(encoded["matched"])
            terms["matching"] = config.matching_weight * F.cross_entropy(at_least_float32(pairs), truth.long())
        if config.language_weight:
            words = mean_over_words(encoded["word_sums"], encoded["word_counts"])
            if config.distillation:
                distilled = mean_over_words(encoded["distilled_sums"], encoded["word_counts"])
                words = self.alpha * distilled + (1 - self.alpha) * words
            terms["language"] = config.language_weight * words
        return terms

    def similarities(self, encoded: dict[str, Tensor], side: str = "") -> tuple[Tensor, Tensor]:
        """(batch, batch + queue) of images over texts, and of texts over images; `key_`: as the momentum towers see."""
        images, texts = encoded[f"{side}images"], encoded[f"{side}texts"]
        return (
            candidate_logits(images, encoded["key_texts"], self.text_queue.keys, self.temperature),
            candidate_logits(texts, encoded["key_images"], self.image_queue.keys, self.temperature),
        )

    @torch.no_grad()
    def targets(self, encoded: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Targets of both, in the same shape."""
        truth = true_candidates(encoded["images"], self.config.queue, self._equal_texts(encoded))
        by_image, by_text = (distilled_targets(side, truth, self.alpha) for side in self.similarities(encoded, "key_"))
        return by_image, by_text

    def _equal_texts(self, encoded: dict[str, Tensor]) -> Tensor | None:
        """(batch, batch + queue) bool, where that is of use."""
        if self.config.equal_texts != "positives":
            return None
        own = encoded["fingerprints"]
        return own[:, None] == torch.cat([own, self.queued_texts.keys])

    def match_all(self, encoded: dict[str, Tensor], negatives: tuple[Tensor, Tensor] | None) -> Tensor:
        """(3 batch, 2) logits: the pairs, the texts with a negative image, the images with a negative text."""
        if negatives is None:
            return encoded["matched"]
        images, texts = negatives
        states, mask, patches = (encoded[name] for name in ("states", "mask", "patches"))
        mismatched = self.match(
            torch.cat([states, states[texts]]), torch.cat([mask, mask[texts]]), torch.cat([patches[images], patches])
        )
        return torch.cat([encoded["matched"], mismatched])

    def enqueue(self, encoded: dict[str, Tensor]) -> None:
        """Keys of all pairs, to be written at the end of the step."""
        self.image_queue.add(encoded["key_images"])
        self.text_queue.add(encoded["key_texts"])
        if self.config.equal_texts == "positives":
            self.queued_texts.add(encoded["fingerprints"])

    def telemetry(self) -> dict[str, float]:
        """The learned temperature, and the weight of the distillation."""
        return {"temperature": float(self.temperature.detach()), "distillation": float(self.alpha)}

    def project_images(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """The projection of the class token, and the same of every patch."""
        features = self.towers.image_encoder(images)
        project = self.towers.image_projection
        return project(features.pooled), project(features.local), features.grid

    def project_texts(self, tokens: Tokens) -> Tensor:
        """(texts, dimension): the projection of [CLS] after the text layers."""
        return self.towers.read(tokens).vectors

    def similarity(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """(batch, texts): the cosine. With `rerank`, of an image's nearest texts 1 and the probability of a match."""
        if not self.config.rerank:
            return super().similarity(images, texts)
        self.expect_space()
        assert self.texts is not None
        seen = self.towers.see(self.prepare(images))
        tokens = self.texts.tokens(texts, self.device)
        read = self._read_in_parts(tokens)
        cosines = (seen.vectors @ read.vectors.T).float()
        nearest = cosines.topk(min(self.config.rerank, len(texts)), dim=1).indices
        for rank in range(nearest.shape[1]):
            chosen = nearest[:, rank]
            logits = self.match(read.states[chosen], tokens.mask[chosen], seen.tokens)
            found = 1 + at_least_float32(logits).softmax(1)[:, MATCHED].to(cosines.dtype)
            cosines = cosines.scatter(1, chosen[:, None], found[:, None])
        return cosines

    def _read_in_parts(self, tokens: Tokens) -> Read:
        """All texts, so many at once that only what is kept of them grows with their number."""
        chunks = zip(tokens.ids.split(self.text_batch), tokens.mask.split(self.text_batch), strict=True)
        parts = [self.towers.read(Tokens(*chunk)) for chunk in chunks]
        return Read(torch.cat([part.vectors for part in parts]), torch.cat([part.states for part in parts]))

    def phrase_maps(self, images: Tensor, phrases: Sequence[str]) -> Tensor:
        """Attention of a fusion layer, mean over the tokens of a phrase."""
        if not self.config.matching_weight and not self.config.language_weight:
            raise NotImplementedError(
                f"{self.called} with matching_weight and language_weight 0 has no maps of phrases"
            )
        assert self.texts is not None
        tokens = self.texts.tokens(phrases, self.device)
        seen, read = self.towers.see(self.prepare(images)), self.towers.read(tokens)
        layer = min(MAP_LAYER, self.config.fusion_layers - 1)
        attention = self.towers.fusion.attention(read.states, tokens.mask, seen.tokens, layer)
        tokenizer = self.masking.tokenizer
        word = tokens.mask & (tokens.ids != tokenizer.start) & (tokens.ids != tokenizer.end)
        mean = (attention * word[..., None]).sum(1) / word.sum(1, keepdim=True).clamp_min(1)
        return mean[:, 1:].unflatten(1, seen.grid)

    def image_features(self, images: Tensor) -> Tensor:
        """(batch, dim) class token, or pooled features, before the projection."""
        features: Tensor = self.towers.image_encoder(self.prepare(images)).pooled
        return features

    def image_maps(self, images: Tensor) -> list[Tensor]:
        """Maps (batch, channels, rows, columns) of the image encoder, fine to coarse."""
        maps: list[Tensor] = self.towers.image_encoder.maps(self.prepare(images))
        return maps


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> Albef:
    """An ALBEF for images of `size`, which needs no `knowledge`; with a saved one's `state` no weights are fetched."""
    settings, fresh = AlbefConfig(**config), state is None
    images = ImageEncoder.of(settings, size, fresh)
    texts = TextEncoder(settings.text_encoder, fresh)
    return Albef(settings, images, texts, WordPieceTokenizer(settings.text_encoder, settings.maximum_tokens), size)
