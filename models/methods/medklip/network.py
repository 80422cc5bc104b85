"""MedKLIP: entities, described in words, are queries to the image (Wu et al., ICCV 2023, arXiv 2301.02228).

Reports reach the model as (entity, position, exists) triplets only. Every entity is replaced by a description, which a
frozen text encoder turns into a query; a transformer decoder looks the queries up in the image, and two heads say
whether the entity exists and where. Where paper and released code differ, the default is the paper's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.encoders.fusion.query_decoder import QueryDecoder
from models.encoders.image import ImageEncoder
from models.encoders.text import embed_texts
from models.errors import ModelError
from models.losses.existence import existence_loss
from models.losses.position import position_loss, sample_positions
from models.losses.precision import at_least_float32
from models.method import Batch, Method, ZeroShot
from models.methods.medklip.config import MedklipConfig


class Medklip(Method):
    """The network. `entities` are names; the books hold one frozen text vector each for entities and positions."""

    query_kind = "entity"
    reads_targets = True
    entity_book: Tensor  # (entities, text width)
    position_book: Tensor  # (positions, text width)
    excluded: Tensor  # (entities,) bool

    def __init__(
        self, config: MedklipConfig, backbone: nn.Module, channels: int, entities: Sequence[str],
        entity_book: Tensor, position_book: Tensor, texts: FrozenTexts, size: int = Method.size,
    ) -> None:  # fmt: skip
        super().__init__()
        self.config, self.size, self.channels = config, size, config.channels
        self.entities = list(entities)
        self.frozen_texts = texts
        self.backbone: Any = backbone  # mypy takes a module's attributes for tensors
        text_width = entity_book.shape[1]
        self.res_l1, self.res_l2 = nn.Linear(channels, channels), nn.Linear(channels, config.width)
        self.disease_embedding_layer = nn.Linear(text_width, config.width)
        self.decoder = QueryDecoder(config.width, config.heads, config.layers, config.feed_forward, config.dropout)
        self.dropout_feas = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.width, 2 if config.existence_head == "softmax" else 1)
        self.cl_fc = nn.Linear(config.width, text_width)
        self.register_buffer("entity_book", entity_book)
        self.register_buffer("position_book", position_book)
        self.register_buffer("excluded", _excluded_mask(config.excluded_entities, self.entities), persistent=False)
        for name, module in self.named_modules():
            if not name.startswith("backbone"):
                _initialise(module, config.initialisation)

    def image_tokens(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Network input -> (batch, locations, width) and the grid's rows and columns."""
        features = self.backbone(images)
        return self.res_l2(self.res_l1(features.local).relu()), features.grid

    def decode(
        self, tokens: Tensor, unseen: Tensor | None = None, attention: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Features (batch, q, width) of the entities, then of `unseen` (texts, text width); with `attention` also maps.

        The entities' queries are always there, because queries attend to each other. Unseen ones attend to them and to
        themselves, so that a prediction does not depend on the other queries.
        """
        book = self.entity_book if self.training else self.frozen_texts.test_book(self.entity_book)
        known = len(book)
        hidden = None
        if unseen is not None:
            book = torch.cat([book, unseen.to(book)])
            if self.config.unseen_queries == "apart":
                hidden = ~torch.eye(len(book), dtype=torch.bool, device=book.device)
                hidden[:, :known] = False
        if self.config.centre_texts:
            book = book - self.entity_book.mean(0)
        queries = self.disease_embedding_layer(book).expand(len(tokens), -1, -1)
        features, maps = self.decoder(queries, tokens, hidden, attention)
        return self.dropout_feas(features), maps

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Features (batch, entities, width) of the entities, beside the targets (batch, positions, entities)."""
        assert batch.targets is not None
        tokens, _ = self.image_tokens(self.prepare(batch.images))
        return {"features": self.decode(tokens)[0], "targets": batch.targets}

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """Existence loss over the mentioned entities, position loss over the present ones (sections 3.3 and 3.4)."""
        features, config = encoded["features"], self.config
        targets = encoded["targets"].masked_fill(self.excluded, -1)
        terms = {"existence": existence_loss(self.classifier(features), existence_labels(targets))}
        if config.position_weight:
            where, candidates = sample_positions(targets, config.negatives, config.negative_scope)
            predicted = self.cl_fc(features[where[:, 0], where[:, 1]])
            terms["position"] = config.position_weight * position_loss(predicted, self.position_book, candidates)
        return terms

    def probabilities(self, features: Tensor) -> Tensor:
        """(batch, q) probability that each query exists."""
        logits = at_least_float32(self.classifier(features))
        return logits[..., 0].sigmoid() if logits.shape[-1] == 1 else logits.softmax(-1)[..., 1]

    def position_logits(self, images: Tensor) -> Tensor:
        """(batch, entities, positions) inner products with the positions' vectors, in grey levels 0..255."""
        tokens, _ = self.image_tokens(self.prepare(images))
        return at_least_float32(self.cl_fc(self.decode(tokens)[0])) @ self.position_book.T

    def zero_shot(self, images: Tensor, queries: Sequence[str]) -> ZeroShot:
        """Existence and attention of `queries`, each an entity's name or, for an unseen one, its description."""
        unseen = [query for query in dict.fromkeys(queries) if query not in self.entities]
        names = self.entities + unseen
        columns = torch.tensor([names.index(query) for query in queries], device=self.entity_book.device)
        tokens, grid = self.image_tokens(self.prepare(images))
        features, maps = self.decode(tokens, self.unseen_vectors(unseen) if unseen else None, attention=True)
        assert maps is not None
        located = at_least_float32(maps).mean(0)[:, columns]
        return ZeroShot(self.probabilities(features)[:, columns], located.unflatten(-1, grid))

    def phrase_maps(self, images: Tensor, phrases: Sequence[str]) -> Tensor:
        """Attention of the phrase, which is an unseen query."""
        tokens, grid = self.image_tokens(self.prepare(images))
        _, maps = self.decode(tokens, self.unseen_vectors(phrases), attention=True)
        assert maps is not None
        located = at_least_float32(maps).mean(0)[:, len(self.entities) :]
        return located[range(len(phrases)), range(len(phrases))].unflatten(-1, grid)

    def image_features(self, images: Tensor) -> Tensor:
        """(batch, channels) mean of the image encoder's local features: a ViT's class token is not trained here."""
        return self.backbone(self.prepare(images)).local.mean(1)

    def image_maps(self, images: Tensor) -> list[Tensor]:
        """Maps (batch, channels, rows, columns) of the image encoder, fine to coarse."""
        return list(self.backbone.maps(self.prepare(images)))

    def similarity(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """(batch, texts) probability that what a text says exists in the image: every text is an unseen query."""
        tokens, _ = self.image_tokens(self.prepare(images))
        features, _ = self.decode(tokens, self.unseen_vectors(texts))
        return self.probabilities(features)[:, len(self.entities) :]

    def unseen_vectors(self, texts: Sequence[str]) -> Tensor:
        """(texts, text width) of texts that were no training query."""
        return self.frozen_texts.vectors(texts, self.entity_book.device)


class FrozenTexts:
    """Vectors of texts that were no training query. The encoder is loaded when the first one is needed."""

    def __init__(self, config: MedklipConfig, entities: Sequence[str]) -> None:
        self.config = config
        self.entities = list(entities)  # what stands for them in words: descriptions, or names
        self.length = config.test_description_tokens or config.description_tokens
        self._known: dict[str, Tensor] = {}

    def vectors(self, texts: Sequence[str], device: torch.device) -> Tensor:
        """(texts, text width), computed on the device where new."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            embedded = embed_texts(self.config.text_encoder, new, self.config.text_pooling, self.length, device)
            self._known.update(zip(new, embedded, strict=True))
        return torch.stack([self._known[text].to(device) for text in texts])

    def test_book(self, trained: Tensor) -> Tensor:
        """The entities' vectors at test: the `trained` ones, unless descriptions are cut to another length then."""
        if self.length == self.config.description_tokens:
            return trained
        return self.vectors(self.entities, trained.device).to(trained)


def existence_labels(targets: Tensor) -> Tensor:
    """(batch, positions, entities) -> (batch, entities): 1 if present anywhere, else 0 if ruled out, else -1."""
    return targets.amax(1).long()


def _query_text(entity: Mapping[str, str], config: MedklipConfig) -> str:
    if not config.describe:
        return entity["name"]
    return f"{entity['name']}: {entity['description']}" if config.named else entity["description"]


def _excluded_mask(names: str, entities: Sequence[str]) -> Tensor:
    wanted = {name.strip() for name in names.split(",") if name.strip()}
    if unknown := sorted(wanted - set(entities)):
        raise ModelError(f"medklip: excluded_entities names `{unknown[0]}`, which is none of the knowledge's entities")
    return torch.tensor([name in wanted for name in entities])


def _initialise(module: nn.Module, scheme: str) -> None:
    """Weights of linear and attention layers; biases of linear layers start at 0."""
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
    """A MedKLIP for the entities and positions of the `knowledge` table.

    With the `state` of a saved one its text vectors are taken from there, and the text encoder is not needed.
    """
    settings = MedklipConfig(**config)
    entities = [row for row in knowledge if row["kind"] == "entity"]
    described = [_query_text(row, settings) for row in entities]
    if state is None:
        positions = [f"It is located at {row['name']}" for row in knowledge if row["kind"] == "position"]
        vectors = embed_texts(
            settings.text_encoder, described + positions, settings.text_pooling, settings.description_tokens
        )
        entity_book, position_book = vectors[: len(entities)].clone(), vectors[len(entities) :].clone()
    else:
        entity_book, position_book = state["entity_book"], state["position_book"]
    backbone = ImageEncoder(
        settings.image_encoder, size, settings.image_weights if state is None else "", settings.image_stage,
        settings.output_stride, pooled=False, channels=settings.channels,
    )  # fmt: skip
    names = [row["name"] for row in entities]
    texts = FrozenTexts(settings, described)
    return Medklip(settings, backbone, backbone.local_dim, names, entity_book, position_book, texts, size)
