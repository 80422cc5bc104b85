"""BioViL: better language models for images and reports (Boecking et al., ECCV 2022, arXiv 2204.09817).

An image, whose vector is the mean of its projected patches, is contrasted with a section of its report. Beside that,
the findings of a report find its impression, and hidden tokens are told. BioViL-L adds GLoRIA's local loss
(`local_weight`).

Architecture, input and the use of prompts are those of the released code (github.com/microsoft/hi-ml), which has no
training. Losses, weights, temperatures, dropout and the recipe are the paper's as recalled, and are not verified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.dual_encoder import DualEncoder
from models.encoders.heads.biovil_projection import TextProjection, patch_projection
from models.encoders.heads.masked_language import MaskedLanguageHead
from models.encoders.image import ImageEncoder
from models.encoders.patch_maps import lay_on_film, smoothed_cosines
from models.encoders.text import TextEncoder
from models.errors import ModelError
from models.losses.contrast.section_matching import section_matching
from models.losses.info_nce import info_nce, matched_pairs
from models.losses.language.word_entropy import chosen_entropies, mean_over_words
from models.losses.word_region import WordRegionSimilarity
from models.method import Batch, TextSource, Tokens, ZeroShot
from models.text.augmentation.masking import Masking
from models.text.augmentation.sentence_order import sentence_ends, shuffle_text
from models.text.prompts import PromptPair
from models.text.tokenizer import WordPieceTokenizer
from store.settings import setting

# As recalled: batch, epochs, rate, warm-up and the kinds of augmentation. Weight decay, the length of the warm-up, the
# strength of the changes of grey levels, and windows of 480 in images of 512 pixels, of which the released code takes
# the middle, are choices. The authors shear images too, which no option here does.
TRAINING: dict[str, Any] = {
    "input_size": 480,
    "epochs": 50.0,
    "batch_size": 512,
    "optimizer": "adamw",
    "learning_rate": 2e-5,
    "final_learning_rate": 0.0,
    "weight_decay": 0.01,
    "schedule": "cosine",
    "warmup_epochs": 1.0,
    "augmentation": {"window": True, "rotation": 30.0, "brightness": 0.2, "contrast": 0.2},
    "method_config": {"channels": 3},
}
# Those for pneumonia in the tests of the released code, for any finding.
POSITIVE = (
    "Findings consistent with {}|Findings suggesting {}|This opacity can represent {}|"
    "Findings are most compatible with {}"
)
NEGATIVE = "There is no {}|No evidence of {}|No evidence of acute {}|No signs of {}"
IMAGE_SECTIONS = ("first", "last")


@dataclass(frozen=True)
class BiovilConfig:
    """BioViL's settings. What the losses and the texts are is recalled from the paper, and not verified."""

    image_encoder: str = setting("resnet50", "A timm encoder, or `vit/4x128p8` for a small ViT from scratch.")
    image_weights: str = setting(
        "imagenet",
        "Weights of the image encoder: empty for random ones, `imagenet`, or the path of a checkpoint. The authors' "
        "encoder begins with SimCLR on the same images.",
    )
    channels: int = setting(
        1, "Channels of the image encoder: 1, or 3 for a grey image in each colour, as released.", choices=(1, 3)
    )
    image_stage: int = setting(
        0, "The residual stage whose locations are the patches; 0 for the last: 15 x 15.", least=0
    )
    output_stride: int = setting(32, "Pixels per patch; 16 makes 30 x 30 of them by dilation.", choices=(8, 16, 32))
    text_encoder: str = setting(
        "microsoft/BiomedVLP-CXR-BERT-general",
        "Text encoder: hub name, local folder, all-MiniLM-L6-v2, or `bert/2x128` for a small one from scratch.",
    )
    dropout: float = setting(0.25, "Dropout of the text encoder.", least=0.0)
    sections: str = setting(
        "findings+impression",
        "Sections of the report, one or two, joined by +; `a/b` takes b where the reports have no section a.",
    )
    image_section: str = setting(
        "last",
        "Which of two sections is contrasted with the image: `last` or `first`. The other one stands in where a report "
        "lacks it.",
    )
    shuffle_sentences: bool = setting(True, "Shuffle the sentences of a section in training.")
    maximum_tokens: int = setting(256, "Tokens of a section, special ones included; longer ones are cut.", least=1)
    hidden: int = setting(128, "Hidden width of both projections.", least=1)
    dimension: int = setting(128, "Width of the space that images and texts share.", least=1)
    temperature: float = setting(0.5, "Temperature of the loss of images and texts.", above=0.0)
    global_weight: float = setting(0.5, "Weight of the loss of images and texts; 0 leaves it out.", least=0.0)
    section_temperature: float = setting(0.5, "Temperature of section matching.", above=0.0)
    section_weight: float = setting(
        1.0, "Weight of section matching; 0 leaves it out, and so does a single section.", least=0.0
    )
    language_weight: float = setting(0.1, "Weight of masked-language modelling; 0 leaves it out.", least=0.0)
    hidden_share: float = setting(0.15, "Share of the tokens that are hidden.", least=0.0)
    whole_words: bool = setting(True, "Hide the pieces of a word together.")
    local_weight: float = setting(
        0.0, "Weight of the loss of words and patches: 0 for BioViL, above for BioViL-L.", least=0.0
    )
    attention_temperature: float = setting(0.25, "Temperature of words' attention to patches; GLoRIA's.", above=0.0)
    word_temperature: float = setting(0.2, "Temperature of words with their attended patches; GLoRIA's.", above=0.0)
    local_temperature: float = setting(0.1, "Temperature of the loss of words and patches; GLoRIA's.", above=0.0)
    smoothing: float = setting(
        1.5, "Sigma in patches of the Gaussian on the maps of zero-shot queries; 0 for none.", least=0.0
    )
    positive_prompt: str = setting(
        POSITIVE, "Prompts for the presence of a finding, joined by |, whose projected vectors are averaged."
    )
    negative_prompt: str = setting(NEGATIVE, "Prompts for the absence of a finding, in the same form.")

    def __post_init__(self) -> None:
        if not 1 <= len(self.sections.split("+")) <= 2:
            raise ModelError(f"biovil: sections are one or two, joined by +, not `{self.sections}`")
        if self.image_section not in IMAGE_SECTIONS:
            raise ModelError(f"biovil: image_section is `first` or `last`, not `{self.image_section}`")
        temperatures = (
            self.temperature, self.section_temperature, self.attention_temperature, self.word_temperature,
            self.local_temperature,
        )  # fmt: skip
        if min(temperatures) <= 0:
            raise ModelError("biovil: temperatures divide and have to be above 0")
        if not 0 <= self.dropout < 1:
            raise ModelError(f"biovil: dropout is {self.dropout}, but must lie in 0..1, below 1")
        if not 0 < self.hidden_share < 1:
            raise ModelError(f"biovil: hidden_share is {self.hidden_share}, but must lie between 0 and 1")
        weights = self.global_weight, self.section_weight, self.language_weight, self.local_weight
        if not any(weights):
            raise ModelError("biovil: all four weights are 0; nothing is left to train")
        if self.section_weight == sum(weights) and "+" not in self.sections:
            raise ModelError("biovil: section_weight alone is above 0, but sections is one; give two, joined by +")


class Biovil(DualEncoder):
    """The network."""

    grey_mean, grey_std = 0.0, 255.0  # to 0..1
    colours = (0.0,) * 3, (255.0,) * 3
    unit_prompts = False

    def __init__(
        self, config: BiovilConfig, image_encoder: ImageEncoder, text_encoder: TextEncoder,
        tokenizer: WordPieceTokenizer, size: int = 480,
    ) -> None:  # fmt: skip
        super().__init__()
        self.config, self.size, self.channels = config, size, config.channels
        self.prompts = PromptPair(config.positive_prompt, config.negative_prompt)
        self.texts = TextSource(tokenizer, tuple(config.sections.split("+")), unit="sections")
        self.image_encoder, self.text_encoder = image_encoder, text_encoder
        self.patch_projection = patch_projection(image_encoder.local_dim, config.hidden, config.dimension)
        self.text_projection = TextProjection(text_encoder.dim, config.hidden, config.dimension)
        self.tokenizer, self.ends = tokenizer, sentence_ends(tokenizer)
        self.masking = Masking(tokenizer, config.hidden_share, config.whole_words)
        self.word_region = WordRegionSimilarity(config.attention_temperature, config.word_temperature)
        if not config.global_weight and not config.local_weight:
            self.no_space = "global_weight and local_weight 0"
        self.language_head = None
        if config.language_weight:
            self.language_head = MaskedLanguageHead(text_encoder.dim, self.embeddings.shape[0])
        for module in text_encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = config.dropout

    @property
    def embeddings(self) -> Tensor:
        """(vocabulary, width) of the words of the text encoder."""
        weights: Tensor = self.text_encoder.bert.embeddings.word_embeddings.weight
        return weights

    def project_images(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Vectors (batch, dim), the mean of those of the patches (batch, patches, dim), and the grid."""
        features = self.image_encoder(images)
        projected = self.patch_projection(features.local.transpose(1, 2).unflatten(2, features.grid))
        patches = projected.flatten(2).transpose(1, 2)
        return patches.mean(1), patches, features.grid

    def project_texts(self, tokens: Tokens) -> Tensor:
        """(texts, dim), not normalised: the projection of [CLS]."""
        projected: Tensor = self.text_projection(self.text_encoder(tokens).tokens[:, 0])
        return projected

    def text_vectors(self, texts: Sequence[str]) -> Tensor:
        """(texts, dim) not normalised, of texts without the punctuation that ends them."""
        return super().text_vectors([text.rstrip("!?.") for text in texts])

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """The image, the sections, and what the switched-on losses need of each pair."""
        assert batch.tokens is not None
        images, patches, _ = self.project_images(self.prepare(batch.images))
        tokens = self._reordered(batch.tokens)
        hidden = self._read(tokens)
        sections, present = self.text_projection(hidden[:, :, 0]), tokens.mask.any(2)
        chosen = self._image_section(present)
        encoded = {"images": images, "texts": _pick(sections, chosen), "sections": sections, "present": present}
        if self.language_head is not None:
            encoded["language_sums"], encoded["language_counts"] = self._told(tokens)
        if self.config.local_weight:
            own = Tokens(_pick(tokens.ids, chosen), _pick(tokens.mask, chosen))
            special = (own.ids == self.tokenizer.start) | (own.ids == self.tokenizer.end)
            words = self.text_projection(_pick(hidden, chosen))
            encoded |= {"patches": patches, "words": words, "word_mask": own.mask & ~special}
        return encoded

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """The losses whose weights are not 0, each contrast the sum of its two directions."""
        config, terms = self.config, {}
        if config.global_weight:
            loss = info_nce(encoded["images"], encoded["texts"], config.temperature, 1, 1)
            terms["global"] = config.global_weight * loss
        if config.section_weight and encoded["sections"].shape[1] == 2:
            first, second = encoded["sections"].unbind(1)
            loss = section_matching(first, second, encoded["present"].all(1), config.section_temperature)
            terms["sections"] = config.section_weight * loss
        if "language_sums" in encoded:
            loss = mean_over_words(encoded["language_sums"], encoded["language_counts"])
            terms["language"] = config.language_weight * loss
        if config.local_weight:
            found = self.word_region(encoded["patches"], encoded["words"], encoded["word_mask"])
            terms["local"] = config.local_weight * matched_pairs(found / config.local_temperature, 1, 1)
        return terms

    def _reordered(self, tokens: Tokens) -> Tokens:
        """The sections with their sentences in random order, in training."""
        if not (self.config.shuffle_sentences and self.training):
            return tokens
        return shuffle_text(tokens, self.ends, torch.rand(tokens.ids.shape, device=tokens.ids.device))

    def _read(self, tokens: Tokens) -> Tensor:
        """Hidden states (batch, sections, length, width). A missing section is read as one token of padding."""
        mask = tokens.mask.clone()
        mask[..., 0] = True
        flat = Tokens(tokens.ids, mask).apply(lambda tensor: tensor.flatten(0, 1))
        return self.text_encoder(flat).tokens.unflatten(0, tokens.ids.shape[:2])

    def _image_section(self, present: Tensor) -> Tensor:
        """(batch,) index of the section that is contrasted with the image; `present` is (batch, sections)."""
        if self.config.image_section == "first":
            return present.int().argmax(1)
        return present.shape[1] - 1 - present.flip(1).int().argmax(1)

    def _told(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """(batch,) summed cross-entropy of the hidden tokens of each pair, and their number."""
        assert self.language_head is not None
        masked = self.masking(tokens, self.masking.draw(tokens, self.training))
        logits = self.language_head(self._read(masked.tokens)[masked.hidden], self.embeddings)
        return chosen_entropies(logits, tokens.ids[masked.hidden], masked.hidden.flatten(1))

    def zero_shot(self, images: Tensor, queries: Sequence[str]) -> ZeroShot:
        """Scores: the softmax of the cosines with both sides. Maps: smoothed cosines of the patches with the positive
        side, from 0 (opposite) to 1 (same)."""
        pooled, patches, grid = self.project_images(self.prepare(images))
        positive, negative = self.prompt_vectors(queries)
        pooled = F.normalize(pooled.float(), dim=-1)
        scores = self.presence(pooled @ positive.T, pooled @ negative.T)
        maps = smoothed_cosines(patches.float(), positive, grid, self.config.smoothing)
        return ZeroShot(scores, (1 + maps) / 2)

    def locate(self, images: Tensor, phrases: Sequence[str]) -> Tensor:
        """(batch, side, side): smoothed cosines with a phrase per image, on grey levels (batch, 1, side, side).

        NaN where the network does not look, because it was trained on windows. The task phrase_grounding smooths the
        maps of every method itself, and leaves out what a network does not see: it takes `phrase_maps`.
        """
        _, patches, grid = self.project_images(self.prepare(images))
        maps = smoothed_cosines(patches.float(), self.embed_texts(phrases)[:, None], grid, self.config.smoothing)
        side = images.shape[-1]
        seen = min(self.size, side) if self.fit == "crop" else 0
        return lay_on_film(maps[:, 0], (side, side), cropped=seen)


def _pick(tensor: Tensor, chosen: Tensor) -> Tensor:
    """(batch, ...) of (batch, sections, ...): the section `chosen` (batch,) of each."""
    return tensor[torch.arange(len(chosen), device=chosen.device), chosen]


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> Biovil:
    """A BioViL for images of `size`, which needs no `knowledge`; with a saved one's `state` no weights are fetched."""
    settings = BiovilConfig(**config)
    fresh = state is None
    images = ImageEncoder.of(settings, size, fresh)
    texts = TextEncoder(settings.text_encoder, weights=fresh)
    return Biovil(settings, images, texts, WordPieceTokenizer(settings.text_encoder, settings.maximum_tokens), size)
