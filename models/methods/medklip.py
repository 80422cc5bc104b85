"""MedKLIP: entities, described in words, are queries to the image (Wu et al., ICCV 2023, arXiv 2301.02228).

Reports reach the model as (entity, position, exists) triplets only. Every entity is replaced by a description, which a
frozen text encoder turns into a query; a transformer decoder looks the queries up in the image, and two heads say
whether the entity exists and where. Where paper and released code differ, the default is the paper's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.encoders.image import StageFeatures, normalise
from models.encoders.query_decoder import QueryDecoder
from models.encoders.text import embed_texts
from models.losses.existence import existence_loss
from models.losses.position import position_loss, sample_positions
from models.method import Batch, Method, ZeroShot


@dataclass(frozen=True)
class MedklipConfig:
    """MedKLIP's settings; the defaults are the paper's (section 4 and its appendix)."""

    image_encoder: str = "resnet50"  # a timm name
    image_stage: int = 3  # the third residual stage: 14 x 14 at 224 pixels
    output_stride: int = 32  # 8 or 16 keep the grid finer by dilation
    image_weights: str = ""  # "", "imagenet", or a checkpoint's path; the authors start from random weights
    text_encoder: str = "emilyalsentzer/Bio_ClinicalBERT"  # hub name, local folder, or all-MiniLM-L6-v2 (bundled)
    text_pooling: str = "cls"  # cls, or mean over the tokens
    centre_texts: bool = False  # subtract the entities' mean vector, which says only that all are findings
    width: int = 256
    heads: int = 4
    layers: int = 4
    feed_forward: int = 1024
    dropout: float = 0.1
    negatives: int = 7
    existence_head: str = "scalar"  # scalar: the paper's binary cross-entropy; softmax: the code's two-way softmax
    describe: bool = True  # off: queries are the bare entity names (the paper's ablation)
    initialisation: str = (
        "normal"  # normal: N(0, 0.02) as in the code, which suits the paper's widths; xavier: for small ones
    )
    position_weight: float = 1.0  # 0 leaves the position loss out (the paper's ablation)

    def __post_init__(self) -> None:
        if self.existence_head not in ("scalar", "softmax"):
            raise ValueError(f"medklip: existence_head is `scalar` or `softmax`, not `{self.existence_head}`")
        if self.initialisation not in ("normal", "xavier"):
            raise ValueError(f"medklip: initialisation is `normal` or `xavier`, not `{self.initialisation}`")
        if self.text_pooling not in ("cls", "mean"):
            raise ValueError(f"medklip: text_pooling is `cls` or `mean`, not `{self.text_pooling}`")


class Medklip(Method):
    """The network. `entities` and `positions` are names; their books hold one frozen text vector each."""

    entity_book: Tensor  # (entities, text width)
    position_book: Tensor  # (positions, text width)

    def __init__(
        self, config: MedklipConfig, backbone: nn.Module, channels: int, entities: Sequence[str],
        entity_book: Tensor, position_book: Tensor,
    ) -> None:  # fmt: skip
        super().__init__()
        self.config = config
        self.entities = list(entities)
        self.backbone = backbone
        text_width = entity_book.shape[1]
        self.res_l1, self.res_l2 = nn.Linear(channels, channels), nn.Linear(channels, config.width)
        self.disease_embedding_layer = nn.Linear(text_width, config.width)
        self.decoder = QueryDecoder(config.width, config.heads, config.layers, config.feed_forward, config.dropout)
        self.dropout_feas = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.width, 2 if config.existence_head == "softmax" else 1)
        self.cl_fc = nn.Linear(config.width, text_width)
        self.register_buffer("entity_book", entity_book)
        self.register_buffer("position_book", position_book)
        for module in self.modules():
            _initialise(module, config.initialisation)

    def image_tokens(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Normalised images -> (batch, locations, width) and the grid's rows and columns."""
        features = self.backbone(images)
        tokens = features.flatten(2).transpose(1, 2)
        return self.res_l2(self.res_l1(tokens).relu()), (features.shape[2], features.shape[3])

    def answer(self, tokens: Tensor, book: Tensor, attention: bool) -> tuple[Tensor, Tensor | None]:
        """Features (batch, q, width) of the queries in `book` (q, text width), and attention maps if asked."""
        if self.config.centre_texts:
            book = book - self.entity_book.mean(0)
        queries = self.disease_embedding_layer(book).expand(len(tokens), -1, -1)
        features, maps = self.decoder(queries, tokens, attention)
        return self.dropout_feas(features), maps

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Existence loss over the mentioned entities, position loss over the present ones (sections 3.3 and 3.4)."""
        tokens, _ = self.image_tokens(batch.images)
        features, _ = self.answer(tokens, self.entity_book, attention=False)
        terms = {"existence": existence_loss(self.classifier(features).float(), existence_labels(batch.targets))}
        if self.config.position_weight:
            where, candidates = sample_positions(batch.targets, self.config.negatives)
            terms["position"] = self.config.position_weight * self.locate(features, where, candidates)
        return terms

    def locate(self, features: Tensor, where: Tensor, candidates: Tensor) -> Tensor:
        """Position loss of the present entities `where` (present, 2) among their `candidates`."""
        predicted = self.cl_fc(features[where[:, 0], where[:, 1]]).float()
        return position_loss(predicted, self.position_book, candidates)

    def probabilities(self, features: Tensor) -> Tensor:
        """(batch, q) probability that each query exists."""
        logits = self.classifier(features).float()
        return logits[..., 0].sigmoid() if logits.shape[-1] == 1 else logits.softmax(-1)[..., 1]

    def zero_shot(self, images: Tensor, queries: list[str]) -> ZeroShot:
        """Existence and attention of `queries`, each an entity's name or, for an unseen one, its description.

        The training queries stay in place, because queries attend to each other; unseen ones are appended.
        """
        unseen = [query for query in queries if query not in self.entities]
        book = self.entity_book
        if unseen:
            vectors = embed_texts(self.config.text_encoder, unseen, self.config.text_pooling)
            book = torch.cat([book, vectors.to(book)])
        names = self.entities + unseen
        columns = torch.tensor([names.index(query) for query in queries], device=book.device)
        tokens, grid = self.image_tokens(normalise(images))
        features, maps = self.answer(tokens, book, attention=True)
        assert maps is not None
        located = maps.float().mean(0)[:, columns]
        return ZeroShot(self.probabilities(features)[:, columns], located.unflatten(-1, grid))


def existence_labels(targets: Tensor) -> Tensor:
    """(batch, positions, entities) -> (batch, entities): 1 if present anywhere, else 0 if ruled out, else -1."""
    return targets.amax(1).long()


def _initialise(module: nn.Module, scheme: str) -> None:
    """Weights of linear and attention layers outside the backbone; biases of linear layers start at 0."""
    weights = []
    if isinstance(module, nn.Linear):
        weights = [module.weight]
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.MultiheadAttention):
        weights = [*module.in_proj_weight.chunk(3), module.out_proj.weight]
    for weight in weights:
        if scheme == "normal":
            nn.init.normal_(weight, std=0.02)
        else:
            nn.init.xavier_uniform_(weight)


def build(
    config: dict[str, Any],
    knowledge: Sequence[dict[str, str]],
    size: int,
    state: Mapping[str, Tensor] | None = None,
) -> Medklip:
    """A MedKLIP for the entities and positions of the `knowledge` table; any image `size` will do.

    With the `state` of a saved one its text vectors are taken from there, and the text encoder is not needed.
    """
    settings = MedklipConfig(**config)
    entities = [row for row in knowledge if row["kind"] == "entity"]
    if state is None:
        entity_book, position_book = _embed_books(settings, knowledge)
    else:
        entity_book, position_book = state["entity_book"], state["position_book"]
    weights = settings.image_weights if state is None else ""
    backbone = StageFeatures(settings.image_encoder, settings.image_stage, settings.output_stride, weights)
    names = [row["name"] for row in entities]
    return Medklip(settings, backbone, backbone.channels, names, entity_book, position_book)


def _embed_books(settings: MedklipConfig, knowledge: Sequence[dict[str, str]]) -> tuple[Tensor, Tensor]:
    """Frozen vectors of the entities' descriptions and of the positions."""
    entities = [row["description" if settings.describe else "name"] for row in knowledge if row["kind"] == "entity"]
    positions = [f"It is located at {row['name']}" for row in knowledge if row["kind"] == "position"]  # their template
    vectors = embed_texts(settings.text_encoder, entities + positions, settings.text_pooling)
    return vectors[: len(entities)].clone(), vectors[len(entities) :].clone()
