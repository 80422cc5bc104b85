"""Reports teach images, as a whole and sentence by sentence (Seibold et al., MICCAI 2022, arXiv 2205.07139).

The training code is not public, and only the abstract could be read: a dual encoder with a global and a local contrast.
Encoders, losses and recipe are choices, as CLIP and GLoRIA have them. The ways to ask for a finding are those of the
authors' lists of prompts; their long lists of synonyms are not here.
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
from models.encoders.heads.token_mean import token_mean
from models.encoders.image import ImageEncoder
from models.encoders.text import TextEncoder
from models.errors import ModelError
from models.losses.contrast.sentence_contrast import repeated_elsewhere, sentence_contrast
from models.losses.info_nce import info_nce, pair_logits
from models.losses.precision import at_least_float32
from models.losses.word_region import WordRegionSimilarity
from models.method import Batch, TextSource, Tokens, ZeroShot
from models.text.augmentation.sentence_order import LAST, reorder_sentences
from models.text.prompts import PromptPair
from models.text.sentences import join_sentences
from models.text.tokenizer import WordPieceTokenizer
from store.settings import setting

# As CheXzero trains CLIP on: none of it is known of the authors.
TRAINING: dict[str, Any] = {
    "input_size": 224,
    "epochs": 20.0,
    "batch_size": 256,
    "optimizer": "adamw",
    "learning_rate": 1e-5,
    "final_learning_rate": 0.0,
    "weight_decay": 0.02,
    "schedule": "cosine",
    "warmup_epochs": 1.0,
    "augmentation": {"crop_scale": 0.8},
    "method_config": {"channels": 3},
}


@dataclass(frozen=True)
class SeiboldConfig:
    """Settings. They are choices: the paper's are not known, except the ways of zero-shot classification."""

    image_encoder: str = setting("resnet50", "A timm encoder, or `vit/4x128p8` for a small ViT from scratch.")
    image_weights: str = setting(
        "imagenet", "Weights of the image encoder: empty for random ones, `imagenet`, or the path of a checkpoint."
    )
    channels: int = setting(
        1, "Channels of the image encoder: 1, or 3 for a grey image in each colour.", choices=(1, 3)
    )
    image_stage: int = setting(0, "The residual stage whose locations are the patches; 0 for the last.", least=0)
    text_encoder: str = setting(
        "all-MiniLM-L6-v2",
        "Text encoder: hub name, local folder, all-MiniLM-L6-v2 (a sentence transformer, bundled), or `bert/2x128` for "
        "a small one from scratch.",
    )
    text_pooling: str = setting("mean", "Vector of a text: the `mean` over its tokens, or that of `cls`.")
    sections: str = setting(
        "findings+impression",
        "Sections whose sentences are read, joined by +; `a/b` takes b where the reports have no section a.",
    )
    report_sentences: str = setting(
        "all", "Sentences that make the report in training: `all`, a random `subset` of half of them, or `one`."
    )
    shuffle_sentences: bool = setting(True, "Put the sentences of the report in random order in training.")
    maximum_tokens: int = setting(256, "Tokens of a report; sentences that do not fit are left out of it.", least=1)
    dimension: int = setting(512, "Width of the space that images, reports and sentences share.", least=1)
    first_logit_scale: float = setting(
        14.285714, "Factor of the cosines at the start: 1 / 0.07, as in CLIP.", above=0.0
    )
    max_logit_scale: float = setting(100.0, "Upper bound of this factor, which is learned.", above=0.0)
    global_weight: float = setting(1.0, "Weight of the loss of images and reports; 0 leaves it out.", least=0.0)
    local_weight: float = setting(1.0, "Weight of the loss of patches and sentences; 0 leaves it out.", least=0.0)
    pool: str = setting(
        "attention",
        "What a sentence is compared with: the patches by its `attention`, the patch that is most like it (`max`), or "
        "their `mean`.",
    )
    attention_temperature: float = setting(
        0.1, "Temperature of a sentence's attention to patches, on cosines.", above=0.0
    )
    image_positives: str = setting(
        "together", "An image should find its sentences `together`, or `each` of them (the mean over them)."
    )
    duplicates: str = setting(
        "masked", "Sentences of other reports that the own one has too: `masked`, or `negatives` as any others."
    )
    zero_shot: str = setting(
        "basic",
        "How a finding is scored: `basic`, positive against negative prompts, or `cosine`, the positive prompts alone.",
    )
    prompt_aggregation: str = setting(
        "mean", "Several prompts of one side: the `mean` of their unit vectors, or the `max` of their cosines."
    )
    positive_prompt: str = setting("{}", "Prompt for the presence of a finding; several are joined by |.")
    negative_prompt: str = setting("no {}", "Prompt for the absence of a finding, in the same form.")

    def __post_init__(self) -> None:
        for name, choices in {
            "text_pooling": ("mean", "cls"),
            "report_sentences": ("all", "subset", "one"),
            "pool": ("attention", "max", "mean"),
            "image_positives": ("together", "each"),
            "duplicates": ("masked", "negatives"),
            "zero_shot": ("basic", "cosine"),
            "prompt_aggregation": ("mean", "max"),
        }.items():
            if getattr(self, name) not in choices:
                raise ModelError(f"seibold: {name} is one of {', '.join(choices)}, not `{getattr(self, name)}`")
        if self.attention_temperature <= 0:
            raise ModelError(
                f"seibold: attention_temperature is {self.attention_temperature}, but divides and has to be above 0"
            )
        if not 0 < self.first_logit_scale <= self.max_logit_scale:
            raise ModelError("seibold: first_logit_scale has to be above 0, and at most max_logit_scale")
        if not self.global_weight and not self.local_weight:
            raise ModelError("seibold: global_weight and local_weight are 0; nothing is left to train")


class Seibold(DualEncoder):
    """Two encoders with a linear projection each; that of the image is applied to the patches too."""

    def __init__(
        self, config: SeiboldConfig, image_encoder: ImageEncoder, text_encoder: TextEncoder,
        tokenizer: WordPieceTokenizer, size: int = 224,
    ) -> None:  # fmt: skip
        super().__init__()
        self.config, self.size, self.channels = config, size, config.channels
        self.prompts = PromptPair(config.positive_prompt, config.negative_prompt)
        self.texts = TextSource(tokenizer, tuple(config.sections.split("+")), unit="sentences")
        self.tokenizer, self.image_encoder, self.text_encoder = tokenizer, image_encoder, text_encoder
        self.image_projection = nn.Linear(image_encoder.dim, config.dimension, bias=False)
        self.patch_projection = nn.Linear(image_encoder.local_dim, config.dimension, bias=False)
        self.text_projection = nn.Linear(text_encoder.dim, config.dimension, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(config.first_logit_scale)))
        self.attention = WordRegionSimilarity(config.attention_temperature, word_temperature=1.0)

    def project_images(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Vectors (batch, dim), patches (batch, patches, dim), and their grid.

        A projection that no loss trains is not used: without the local loss patches have that of the image, and without
        the global one an image is the mean of its patches.
        """
        features = self.image_encoder(images)
        project = self.patch_projection if self.config.local_weight else self.image_projection
        patches = project(features.local)
        whole = self.image_projection(features.pooled) if self.config.global_weight else patches.mean(1)
        return whole, patches, features.grid

    def project_texts(self, tokens: Tokens) -> Tensor:
        """(texts, dim), not normalised. A text of padding alone is read as one token."""
        mask = tokens.mask.clone()
        mask[:, 0] = True
        states = self.text_encoder(Tokens(tokens.ids, mask)).tokens
        if self.config.text_pooling == "cls":
            return self.text_projection(states[:, 0])
        return self.text_projection(token_mean(states, mask))

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """The image and its patches, the report, and its sentences, of which the ids tell the same ones."""
        assert batch.tokens is not None
        images, patches, _ = self.project_images(self.prepare(batch.images))
        encoded = {"images": images}
        if self.config.global_weight:
            encoded["texts"] = self.project_texts(self._report(batch.tokens))
        if self.config.local_weight:
            tokens = batch.tokens
            flat = self.project_texts(tokens.apply(lambda tensor: tensor.flatten(0, 1)))
            sentences = flat.unflatten(0, tokens.ids.shape[:2])
            encoded |= {"patches": patches, "sentences": sentences, "present": tokens.mask.any(2), "ids": tokens.ids}
        return encoded

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """Both losses, each the mean of its two directions."""
        with torch.no_grad():  # the parameter itself, so that its gradient can lead it down again
            self.logit_scale.clamp_(max=math.log(self.config.max_logit_scale))
        terms = {}
        if self.config.global_weight:
            loss = info_nce(encoded["images"], encoded["texts"], torch.exp(-self.logit_scale))
            terms["global"] = self.config.global_weight * loss
        if self.config.local_weight:
            terms["local"] = self.config.local_weight * self._sentence_loss(encoded)
        return terms

    def _sentence_loss(self, encoded: dict[str, Tensor]) -> Tensor:
        present = encoded["present"]
        cosines = self.compare(encoded["patches"], encoded["sentences"].flatten(0, 1))
        excluded = repeated_elsewhere(encoded["ids"], present) if self.config.duplicates == "masked" else None
        each = self.config.image_positives == "each"
        to_sentences, to_images = sentence_contrast(self.logit_scale.exp() * cosines, present, excluded, each)
        return (to_sentences + to_images) / 2

    def compare(self, patches: Tensor, sentences: Tensor) -> Tensor:
        """(images, sentences) cosines of `sentences` (sentences, dim) with what `pool` makes of the patches (images,
        patches, dim) for each of them."""
        if self.config.pool == "mean":
            return pair_logits(patches.mean(1), sentences, 1)
        patches, sentences = (F.normalize(at_least_float32(vectors), dim=-1) for vectors in (patches, sentences))
        if self.config.pool == "attention":
            one = torch.ones(len(sentences), 1, dtype=torch.bool, device=sentences.device)
            return self.attention(patches, sentences[:, None], one)
        with torch.autocast(patches.device.type, enabled=False):
            return torch.einsum("ipd,sd->ips", patches, sentences).amax(1)

    def _report(self, tokens: Tokens) -> Tokens:
        """The report (batch, length) of sentences (batch, sentences, length)."""
        chosen = reorder_sentences(tokens, self._order(tokens))
        return join_sentences(chosen, self.tokenizer, self.tokenizer.length).tokens

    def _order(self, tokens: Tokens) -> Tensor:
        """(batch, sentences) keys by which the sentences of a report stand, or are left out, in training at random."""
        present, device = tokens.mask.any(2), tokens.ids.device
        keys = torch.linspace(0, 1, present.shape[1], device=device).expand(present.shape)
        if self.training:
            draws = torch.rand(present.shape, device=device).masked_fill(~present, 1.0)
            first = draws == draws.amin(1, keepdim=True)
            kept = {"all": present, "subset": first | (draws < 0.5), "one": first}[self.config.report_sentences]
            shuffled = torch.rand(present.shape, device=device)
            keys = (shuffled if self.config.shuffle_sentences else keys).masked_fill(~kept, LAST)
        return keys.masked_fill(~present, LAST)

    def zero_shot(self, images: Tensor, queries: Sequence[str]) -> ZeroShot:
        """Scores as `zero_shot` asks, of names in lower case. Maps: cosines of the patches with the positive prompts,
        from 0 (opposite) to 1 (same)."""
        pooled, patches, grid = self.project_images(self.prepare(images))
        pooled, patches = F.normalize(pooled.float(), dim=-1), F.normalize(patches.float(), dim=-1)
        pairs = [self.prompts.fill(query.lower()) for query in queries]
        positive, negative = (self.match(pooled, [pair[side] for pair in pairs]) for side in (0, 1))
        scores = self.presence(positive, negative) if self.config.zero_shot == "basic" else (1 + positive) / 2
        maps = (1 + self.match(patches, [pair[0] for pair in pairs])) / 2
        return ZeroShot(scores, maps.transpose(1, 2).unflatten(-1, grid))

    def match(self, vectors: Tensor, prompts: Sequence[Sequence[str]]) -> Tensor:
        """(..., groups) of unit vectors (..., dim) with groups of prompts, as `prompt_aggregation` asks."""
        if self.config.prompt_aggregation == "mean":
            return vectors @ self._mean_directions(prompts).T
        cosines = vectors @ self.embed_texts([text for group in prompts for text in group]).T
        groups = cosines.split([len(group) for group in prompts], dim=-1)
        return torch.stack([group.amax(-1) for group in groups], dim=-1)

    def telemetry(self) -> dict[str, float]:
        """The factor of the cosines."""
        return {"logit_scale": self.logit_scale.exp().item()}


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> Seibold:
    """A network for images of `size`, which needs no `knowledge`; with a saved one's `state` no weights are fetched."""
    settings, fresh = SeiboldConfig(**config), state is None
    images = ImageEncoder.of(settings, size, fresh)
    texts = TextEncoder(settings.text_encoder, weights=fresh)
    return Seibold(settings, images, texts, WordPieceTokenizer(settings.text_encoder, settings.maximum_tokens), size)
