"""MedCLIP: images and sentences match as far as their findings do (Wang et al., "MedCLIP: Contrastive Learning from
Unpaired Medical Images and Text", EMNLP 2022, arXiv 2210.10163).

The labels of an image are the findings of its report, those of a sentence the findings of that sentence. The similarity
of the labels is the target of the contrast, so that a sentence about the same finding in another report is no negative.
Where paper and released code differ, the default is the paper's, but for the learning rate. What becomes of padding
and of unknown findings, and that no changed copy of a sentence is contrasted, are choices. The released weights are
imported by models/released/formats/medclip.py.
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
from models.losses.contrast.label_matching import label_similarity, soft_matching, soft_targets
from models.losses.precision import at_least_float32
from models.method import Batch, TextSource, Tokens, ZeroShot
from models.text.gloria_prompts import sample_prompts
from models.text.prompts import PromptPair
from models.text.tokenizer import WordPieceTokenizer
from models.text.word_noise import change_words
from store.settings import setting

MINIMUM_WORDS = 4  # of a sentence, which with its full stop has five tokens
LAYERS = (1, 2, -1)  # hidden states whose mean a token is
LARGEST_SCALE = 4.6052  # of the logarithm of the scale, which is at least 0
# CheXpert's classes but for No Finding, by the entities of the knowledge; + joins those of one class
CHEXPERT = (
    "enlarge+widen,cardiomegaly,opacity+infiltrate,nodule+mass+lesion,edema+congestion+chf,consolidation,pneumonia,"
    "atelectasis,pneumothorax,effusion,thicken,fracture,"
    "tube+line+catheter+picc+device+pacemaker+lead+hardware+drainage+tip"
)

# Of the code; the learning rate of the paper is recalled as 5e-5, which could not be verified. The code scales images
# by 0.8 to 1.1, and keeps the weights that classify a part of CheXpert best, whose labels the evaluation uses.
TRAINING: dict[str, Any] = {
    "input_size": 224,
    "batch_size": 100,
    "epochs": 10.0,
    "optimizer": "adamw",
    "learning_rate": 2e-5,
    "final_learning_rate": 0.0,
    "weight_decay": 1e-4,
    "decay": "matrices",
    "schedule": "cosine",
    "warmup_epochs": 1.0,
    "warmup_start": 0.0,
    "clip_norm": 1.0,
    "augmentation": {
        "window": True,
        "horizontal_flip": 0.5,
        "rotation": 10.0,
        "translation": 0.0625,
        "scaling": 0.15,
        "brightness": 0.2,
        "contrast": 0.2,
    },
    "method_config": {"channels": 3},
}


@dataclass(frozen=True)
class MedclipConfig:
    """MedCLIP's settings. Where a setting says `Code:`, its default is not the code's."""

    image_encoder: str = setting(
        "swin_tiny_patch4_window7_224", "A timm encoder, or `vit/4x128p8` for a small ViT from scratch."
    )
    image_weights: str = setting(
        "imagenet", "Weights of the image encoder: empty for random ones, `imagenet`, or the path of a checkpoint."
    )
    channels: int = setting(
        1,
        "Channels of the image encoder: 1, or 3 for a grey image in each colour, as in the released code.",
        choices=(1, 3),
    )
    image_stage: int = setting(0, "The stage whose features are pooled; 0 for the last.", least=0)
    output_stride: int = setting(
        32, "Pixels per location of a residual network's last map; 8 or 16 refine it.", choices=(8, 16, 32)
    )
    text_encoder: str = setting(
        "emilyalsentzer/Bio_ClinicalBERT",
        "Text encoder: hub name, local folder, all-MiniLM-L6-v2, or `bert/2x128` for a small one from scratch.",
    )
    sections: str = setting(
        "findings+impression",
        "Sections of the report from which a sentence is sampled, joined by +; `a/b` takes b where the reports have no "
        "section a.",
    )
    maximum_tokens: int = setting(77, "Tokens of a sentence; longer ones are cut.", least=1)
    padding: str = setting(
        "left_out",
        "Padding in the mean over the tokens of a text: `left_out`. Code: `counted`, so that a vector depends on the "
        "longest text of its batch.",
    )
    changed_copy: bool = setting(
        False, "Contrast a copy of each sentence too, in which words are deleted or exchanged. Code: on, and synonyms."
    )
    dimension: int = setting(512, "Width of the space that images and sentences share.", least=1)
    unpaired: bool = setting(
        True,
        "An image without a sentence, but with findings, gets a sentence of another report that shares one, as images "
        "without reports do in the paper; off: it is left out.",
    )
    label_entities: str = setting(
        CHEXPERT, "Labels: entities of the knowledge, + joining those of one label, separated by commas; empty: all."
    )
    no_finding: bool = setting(True, "A label more, which is 1 where none of the others is 1 or uncertain.")
    label_similarity: str = setting("cosine", "Similarity of labels: `cosine`. Code: `dot`, the inner product.")
    target_temperature: float = setting(1.0, "Temperature of the softmax over the similarities of labels.", above=0.0)
    unknown_labels: str = setting(
        "own_pair",
        "What an image or a sentence without any finding, present or absent, is a target of: `own_pair`. Code: "
        "`no_finding`, as if it were normal.",
    )
    temperature: float = setting(0.07, "Temperature at the start; it is learned, from 0.01 to 1.", above=0.0)
    positive_prompt: str = setting(
        "{}", "Prompt for a finding that the prompts of GLoRIA's kind do not have; several are joined by |."
    )
    negative_prompt: str = setting("no {}", "Prompt for the absence of a finding, in the same form.")
    prompts: int = setting(
        10, "Prompts per finding, sampled from models/text/gloria_prompts.py; 0: its name alone.", least=0
    )
    prompt_seed: int = setting(0, "Seed of this sampling.", least=0)
    prompt_aggregation: str = setting(
        "embeddings",
        "Of a finding's prompts: the mean of their `embeddings`. Code: the `max` of their logits, or the mean of their "
        "`logits`.",
    )
    negatives: bool = setting(False, "Subtract the match of the prompt for the absence of a finding.")

    def __post_init__(self) -> None:
        for name, choices in {
            "padding": ("left_out", "counted"),
            "label_similarity": ("cosine", "dot"),
            "unknown_labels": ("own_pair", "no_finding"),
            "prompt_aggregation": ("embeddings", "max", "logits"),
        }.items():
            if getattr(self, name) not in choices:
                raise ModelError(f"medclip: {name} is {' or '.join(choices)}, not `{getattr(self, name)}`")
        if self.target_temperature <= 0:
            raise ModelError(
                f"medclip: target_temperature divides and has to be above 0, not {self.target_temperature}"
            )
        if self.unknown_labels == "no_finding" and not self.no_finding:
            raise ModelError(
                "medclip: unknown_labels is `no_finding`, but no_finding is false, so that there is no such label; set "
                "unknown_labels to `own_pair`, or no_finding to true"
            )
        if not 0.01 <= self.temperature <= 1:
            raise ModelError(f"medclip: temperature is {self.temperature}, but must lie in 0.01..1")


class Medclip(DualEncoder):
    """The network."""

    reads_targets = True
    uncertain = -2
    grey_mean, grey_std = 0.5862785803043838 * 255, 0.27950088968644304 * 255  # of the code
    colours = (grey_mean,) * 3, (grey_std,) * 3
    members: Tensor  # (labels, entities) bool

    def __init__(
        self, config: MedclipConfig, image_encoder: Any, text_encoder: Any, tokenizer: WordPieceTokenizer,
        entities: Sequence[str], size: int = 224,
    ) -> None:  # fmt: skip
        super().__init__()
        self.prompts = PromptPair(config.positive_prompt, config.negative_prompt)
        self.config, self.size, self.channels, self.tokenizer = config, size, config.channels, tokenizer
        sections = tuple(config.sections.split("+"))
        self.texts = TextSource(
            tokenizer, sections, "sentence", "marks", minimum_words=MINIMUM_WORDS, unpaired=config.unpaired
        )
        self.image_encoder, self.text_encoder = image_encoder, text_encoder
        self.image_projection = nn.Linear(image_encoder.dim, config.dimension, bias=False)
        self.text_projection = nn.Linear(text_encoder.dim, config.dimension, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(-math.log(config.temperature)))
        self.register_buffer("members", _members(config.label_entities, entities), persistent=False)

    def on_step_start(self) -> None:
        """Keep the scale within its bounds, in place, so that its gradient is not stopped there."""
        with torch.no_grad():
            self.logit_scale.clamp_(0, LARGEST_SCALE)

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Vectors (batch, dimension) and labels (batch, labels) of images and texts."""
        assert batch.tokens is not None
        assert batch.targets is not None
        assert batch.text_targets is not None
        encoded = {
            "images": self.image_projection(self.image_encoder(self.prepare(batch.images)).pooled),
            "texts": self.project_texts(batch.tokens),
            "image_labels": self.labels(batch.targets),
            "text_labels": self.labels(batch.text_targets),
            "known": self.knows(batch.targets) & self.knows(batch.text_targets),
        }
        if self.config.changed_copy and self.training:
            encoded["changed_texts"] = self.project_texts(change_words(batch.tokens, self.tokenizer.pad))
        return encoded

    def labels(self, targets: Tensor) -> Tensor:
        """(batch, labels) of targets (batch, positions, entities).

        1 where one of a label's entities is present, else -1 where one is uncertain, else 0.
        """
        present, doubted = (self._has(targets == value) for value in (1, self.uncertain))
        found = present.to(self.numbers) - (doubted & ~present).to(self.numbers)
        if self.config.no_finding:
            found = torch.cat([found, (found == 0).all(1, keepdim=True).to(found)], 1)
        return found

    def _has(self, said: Tensor) -> Tensor:
        """(batch, labels) bool: which labels have one of the entities that are said, (batch, positions, entities)."""
        return (said.any(1)[:, None] & self.members).any(2)

    def knows(self, targets: Tensor) -> Tensor:
        """(batch,) whether targets (batch, positions, entities) say anything, so that labels mean something."""
        if self.config.unknown_labels == "no_finding":
            return torch.ones_like(targets[:, 0, 0], dtype=torch.bool)
        return (targets != -1).flatten(1).any(1)

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """The semantic matching loss, or the mean of it over the sentences and their changed copies."""
        config = self.config
        similarity = label_similarity(encoded["image_labels"], encoded["text_labels"], config.label_similarity)
        targets = soft_targets(similarity, encoded["known"], config.target_temperature)
        texts = [encoded[name] for name in ("texts", "changed_texts") if name in encoded]
        losses = [soft_matching(self.logits(encoded["images"], part), *targets) for part in texts]
        return {"matching": torch.stack(losses).mean()}

    def logits(self, images: Tensor, texts: Tensor) -> Tensor:
        """(images, texts) scaled cosines of vectors (images, dimension) and (texts, dimension)."""
        with torch.autocast(images.device.type, enabled=False):
            images, texts = (F.normalize(at_least_float32(side), dim=-1) for side in (images, texts))
            return self.logit_scale.exp() * (images @ texts.T)

    def telemetry(self) -> dict[str, float]:
        """The factor of the cosines."""
        return {"logit_scale": float(self.logit_scale.detach().exp())}

    def project_images(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """The projection of the pooled features, and the same of every location's."""
        features = self.image_encoder(images)
        return self.image_projection(features.pooled), self.image_projection(features.local), features.grid

    def project_texts(self, tokens: Tokens) -> Tensor:
        """(texts, dimension), not normalised."""
        return self.text_projection(self.pool(self.text_encoder(tokens).layers, tokens.mask))

    def pool(self, layers: Sequence[Tensor], mask: Tensor) -> Tensor:
        """(texts, dim): the mean of hidden states (texts, length, dim), over the tokens in `mask` (texts, length)."""
        hidden = torch.stack([layers[layer] for layer in LAYERS]).mean(0)
        if self.config.padding == "counted":
            return hidden.mean(1)
        return token_mean(hidden, mask)

    def prompts_of(self, query: str) -> list[str]:
        """Prompts for a finding: sampled from its combinations, else its name."""
        return sample_prompts(query, self.config.prompts, self.config.prompt_seed) or list(self.prompts.fill(query)[0])

    def zero_shot(self, images: Tensor, queries: Sequence[str]) -> ZeroShot:
        """Scores: the match of a finding from 0 (opposite) to 1 (same); the code's are times the scale.

        Maps: the cosine of each location with the mean of the finding's prompts, from 0 to 1.
        """
        pooled, local, grid = self.project_images(self.prepare(images))
        pooled, local = (F.normalize(part.float(), dim=-1) for part in (pooled, local))
        groups = [self.embed_texts(self.prompts_of(query)) for query in queries]
        matches = class_matches(pooled, groups, self.config.prompt_aggregation)
        if self.config.negatives:
            denials = [self.embed_texts(self.prompts.fill(query)[1]) for query in queries]
            matches = (matches - class_matches(pooled, denials, self.config.prompt_aggregation)) / 2
        directions = F.normalize(torch.stack([group.mean(0) for group in groups]), dim=-1)
        maps = (1 + local @ directions.T) / 2
        return ZeroShot((1 + matches) / 2, maps.transpose(1, 2).unflatten(-1, grid))


def class_matches(images: Tensor, groups: Sequence[Tensor], aggregation: str) -> Tensor:
    """(images, classes) match of unit vectors (images, dim) with the unit vectors (prompts, dim) of each class.

    The `max` or the mean of the cosines (`logits`), or the cosine with the mean of the prompts (`embeddings`).
    """
    if aggregation == "embeddings":
        return images @ F.normalize(torch.stack([group.mean(0) for group in groups]), dim=-1).T
    cosines = [images @ group.T for group in groups]
    return torch.stack([found.amax(1) if aggregation == "max" else found.mean(1) for found in cosines], 1)


def _members(labels: str, entities: Sequence[str]) -> Tensor:
    """(labels, entities) bool: which entities a label has."""
    if not labels:
        return torch.eye(len(entities), dtype=torch.bool)
    wanted = [{name.strip() for name in label.split("+")} for label in labels.split(",")]
    if unknown := sorted(set().union(*wanted) - set(entities)):
        raise ModelError(f"medclip: label_entities names `{unknown[0]}`, which is none of the knowledge's entities")
    return torch.tensor([[name in label for name in entities] for label in wanted])


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> Medclip:
    """A MedCLIP for images of `size`, whose labels are entities of the `knowledge` table.

    With the `state` of a saved one no pretrained weights are needed.
    """
    settings, fresh = MedclipConfig(**config), state is None
    images = ImageEncoder.of(settings, size, fresh)
    texts = TextEncoder(settings.text_encoder, fresh)
    entities = [row["name"] for row in knowledge if row["kind"] == "entity"]
    tokenizer = WordPieceTokenizer(settings.text_encoder, settings.maximum_tokens)
    return Medclip(settings, images, texts, tokenizer, entities, size)
