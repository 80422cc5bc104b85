"""MedKLIP's released checkpoint (Wu et al., ICCV 2023; github.com/MediaBrain-SJTU/MedKLIP)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from models.encoders.fusion.query_decoder import QueryDecoder
from models.encoders.text import embed_texts
from models.errors import ModelError
from models.method import ZeroShot
from models.released.files.containers import Content, tensors_of
from models.released.network import ReleasedNetwork
from models.released.opening import Converted
from models.released.parts.films import IMAGENET_MEAN, IMAGENET_STD, normalise, squash
from models.released.parts.resnet import describe_resnet, named_children, resnet

SOURCE = "Wu et al., MedKLIP, ICCV 2023, arXiv 2301.02228; github.com/MediaBrain-SJTU/MedKLIP"
LICENCE = "The repository states no licence: ask the authors before you pass the weights or results on."
PREFIX, BACKBONE = "module.", "res_features."
HEADS = 4
SIZE = 224
TEST_TOKENS = 64  # to which test.py cuts the descriptions, where the training has 128
DESCRIPTIONS = "observation explanation.json"  # of the repository: name -> description, in the order of the network
BOOKS = "books.safetensors"  # `entity_book`, where somebody has it already


class ReleasedMedklip(ReleasedNetwork):
    """The network at test: ResNet to its third stage, queries that attend to each other, a softmax of two logits.

    The entities are asked for together, as in the training. A finding that is none of them is asked for by its
    description, behind the entities and apart from other such findings.
    """

    query_kind = "entity"
    entity_book: Tensor  # (entities, text width)
    description_book: Tensor  # (descriptions, text width), where there are any
    size = SIZE

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.entities: list[str] = list(settings["entities"])
        self.descriptions: list[str] = list(settings.get("descriptions", ()))
        width, text_width, feed_forward = settings["width"], settings["text_width"], settings["feed_forward"]
        self.backbone = resnet(**settings["backbone"])
        channels = 4 * settings["backbone"]["planes"][-1]
        self.res_l1, self.res_l2 = nn.Linear(channels, channels), nn.Linear(channels, width)
        self.disease_embedding_layer = nn.Linear(text_width, width)
        self.decoder = QueryDecoder(width, HEADS, settings["layers"], feed_forward, 0.0)
        self.classifier, self.cl_fc = nn.Linear(width, 2), nn.Linear(width, text_width)
        self.register_buffer("entity_book", torch.zeros(len(self.entities), text_width))
        if self.descriptions:
            self.register_buffer("description_book", torch.zeros(len(self.descriptions), text_width))

    def film(self, film: np.ndarray) -> Tensor:
        """(3, 224, 224): squashed, normalised by ImageNet's channels."""
        return normalise(squash(film, SIZE), IMAGENET_MEAN, IMAGENET_STD)

    def image_features(self, images: Tensor) -> Tensor:
        """(batch, channels) mean of the third stage."""
        return self.stage(self.prepare(images)).mean((2, 3))

    def image_maps(self, images: Tensor) -> list[Tensor]:
        """The third stage's map (batch, channels, 14, 14)."""
        return [self.stage(self.prepare(images))]

    def stage(self, pixels: Tensor) -> Tensor:
        """(batch, channels, rows, columns) of the third stage."""
        found: Tensor = self.backbone.forward_features(pixels)
        return found

    def look(self, pixels: Tensor) -> Tensor:
        """(batch, locations, width) of the network's input."""
        local = self.stage(pixels).flatten(2).transpose(1, 2)
        found: Tensor = self.res_l2(self.res_l1(local).relu())
        return found

    def answer(self, tokens: Tensor, further: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits (batch, queries, 2) and attention (layers, batch, queries, locations) of what `look` gives.

        The queries are the entities, and behind them `further` ones (queries, text width).
        """
        book = self.entity_book if further is None else torch.cat([self.entity_book, further])
        queries = self.disease_embedding_layer(book).expand(len(tokens), -1, -1)
        features, maps = self.decoder(queries, tokens, attention=True)
        assert maps is not None
        return self.classifier(features), maps

    def zero_shot(self, images: Tensor, queries: Sequence[str]) -> ZeroShot:
        """Probability and mean attention of entities by their names, and of other findings by their descriptions."""
        self._expect_known(queries)
        tokens = self.look(self.prepare(images))
        logits, maps = self.answer(tokens)
        columns = [self.entities.index(query) if query in self.entities else 0 for query in queries]
        scores, located = logits.softmax(-1)[:, columns, 1], maps.mean(0)[:, columns]
        for place, query in enumerate(queries):
            if query not in self.entities:
                row = self.descriptions.index(query)
                logits, maps = self.answer(tokens, self.description_book[row : row + 1])
                scores[:, place], located[:, place] = logits.softmax(-1)[:, -1, 1], maps.mean(0)[:, -1]
        grid = int(located.shape[-1] ** 0.5)
        return ZeroShot(scores, located.unflatten(-1, (grid, grid)))

    def _expect_known(self, queries: Sequence[str]) -> None:
        for query in queries:
            if query not in self.entities and query not in self.descriptions:
                raise ModelError(
                    f"the released MedKLIP has no entity `{query}`: ask for one of its {len(self.entities)}, or import "
                    "the checkpoint again with the weights of Bio_ClinicalBERT in the folder of the text encoder"
                )


def recognises(content: Content) -> bool:
    """Whether the names are MedKLIP's: a backbone without names, and the embedding of diseases."""
    names = _tensors(content)
    return "disease_embedding_layer.weight" in names and any(name.startswith(BACKBONE) for name in names)


def convert(content: Content, texts: Path | None) -> Converted:
    """The file, and the vectors of the descriptions, which it lacks.

    `texts` is the folder of Bio_ClinicalBERT, with `observation explanation.json` of the repository in it. Instead of
    both there may be `books.safetensors`.
    """
    found = _tensors(content)
    backbone = named_children(_under(found, BACKBONE))
    entities, entity_book = read_book(texts)
    state = {name: tensor for name, tensor in found.items() if not name.startswith(BACKBONE)}
    state |= {f"backbone.{name}": tensor for name, tensor in backbone.items()}
    state["entity_book"] = entity_book
    layers = {name.split(".")[2] for name in found if name.startswith("decoder.layers.")}
    embedding = found["disease_embedding_layer.weight"]
    settings = {
        "backbone": describe_resnet(backbone),
        "entities": entities,
        "width": int(embedding.shape[0]),
        "text_width": int(embedding.shape[1]),
        "layers": len(layers),
        "feed_forward": int(found["decoder.layers.0.linear1.weight"].shape[0]),
    }
    return Converted(settings, state)


def describe_findings(converted: Converted, texts: Path | None, descriptions: Sequence[str]) -> Converted:
    """The file with the vectors of further `descriptions`, as MedKLIP asks for findings that it has not seen.

    Without the weights of the text encoder in `texts` they cannot be made, and a note says so.
    """
    if texts is None or (texts / BOOKS).is_file():
        entities = len(converted.settings["entities"])
        note = f"The folder of texts has vectors alone: findings other than its {entities} entities have no answer."
        return replace(converted, notes=(*converted.notes, note))
    book = embed_texts(str(texts), list(descriptions), "cls", TEST_TOKENS)
    return replace(
        converted,
        settings={**converted.settings, "descriptions": list(descriptions)},
        state={**converted.state, "description_book": book},
    )


def build(settings: Mapping[str, Any]) -> ReleasedMedklip:
    """The network of a checkpoint's settings."""
    return ReleasedMedklip(settings)


def read_book(texts: Path | None) -> tuple[list[str], Tensor]:
    """Names of the entities, and their vectors (entities, text width)."""
    if texts is None or not (texts / DESCRIPTIONS).is_file():
        raise ModelError(
            f"MedKLIP's answers depend on texts that are not in its checkpoint: put `{DESCRIPTIONS}` of its repository "
            "into the folder of Bio_ClinicalBERT, and give that folder as the text encoder"
        )
    try:
        described: dict[str, str] = json.loads((texts / DESCRIPTIONS).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{texts / DESCRIPTIONS} is no JSON: {error}") from None
    if not isinstance(described, dict) or not described:
        raise ModelError(f"{texts / DESCRIPTIONS} holds no descriptions by name")
    if (texts / BOOKS).is_file():
        return list(described), load_file(texts / BOOKS)["entity_book"]
    return list(described), embed_texts(str(texts), list(described.values()), "cls", TEST_TOKENS)


def _tensors(content: Content) -> dict[str, Tensor]:
    model = content.get("model")
    return (
        {}
        if not isinstance(model, Mapping)
        else {name.removeprefix(PREFIX): tensor for name, tensor in tensors_of(model).items()}
    )


def _under(found: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in found.items() if name.startswith(prefix)}
