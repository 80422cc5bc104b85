"""KAD's released checkpoints, for images of 224 or of more pixels (Zhang et al., Nature Communications 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from models.encoders.fusion.query_decoder import QueryDecoder
from models.errors import ModelError
from models.method import Tokens, ZeroShot
from models.released.files.containers import Content, tensors_of
from models.released.network import ReleasedNetwork
from models.released.opening import Converted
from models.released.parts.bert import BertPieces, TextTower, describe_bert, expect_folder, without_buffers
from models.released.parts.films import IMAGENET_MEAN, IMAGENET_STD, normalise, squash
from models.released.parts.resnet import describe_resnet, named_children, residual_maps, resnet
from models.released.parts.states import count, size, under

SOURCE = "Zhang et al., KAD, Nature Communications 2023, arXiv 2302.14042; github.com/xiaoman-zhang/KAD"
LICENCE = "The repository's licence is MIT."
IMAGE, TEXT, MODEL = "image_encoder", "text_encoder", "model"  # in the file
BACKBONE, WHOLE = "res_features.", "resnet."  # the same weights twice: cut as they are used, and with all layers
BERT = "bert_model."
HEADS = 4
SIZES = {3: 224, 4: 512}  # pixels, by the stages of the residual network; the released names say 512 and 1024
LENGTH = 256  # tokens
TEXTS_AT_ONCE = 256


class ReleasedKad(ReleasedNetwork):
    """The network at test: names of findings, read by a BERT, ask the places of a film, and attend to each other.

    Hence the answer to one finding depends on which others are asked with it: ask for all of them together.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.size = settings["size"]
        channels, width = settings["channels"], settings["width"]
        self.backbone = resnet(**settings["backbone"])
        self.res_l1, self.res_l2 = nn.Linear(channels, channels), nn.Linear(channels, width)
        self.text = TextTower(settings["bert"], BertPieces(settings["texts"], LENGTH), pooler=True)
        self.mlp_embed = nn.Sequential(
            nn.Linear(self.text.width, settings["hidden"]), nn.GELU(), nn.Linear(settings["hidden"], width)
        )
        self.decoder = QueryDecoder(width, HEADS, settings["layers"], settings["feed_forward"], 0.0)
        self.mlp_head = nn.Linear(width, 2)

    def film(self, film: np.ndarray) -> Tensor:
        """(3, size, size): squashed by a cubic filter, normalised by ImageNet's channels."""
        return normalise(squash(film, self.size, Image.Resampling.BICUBIC), IMAGENET_MEAN, IMAGENET_STD)

    def image_features(self, images: Tensor) -> Tensor:
        """(batch, channels) mean of the last stage, before the two layers that follow."""
        found: Tensor = self.backbone.forward_features(self.prepare(images))
        return found.mean((2, 3))

    def image_maps(self, images: Tensor) -> list[Tensor]:
        """Maps (batch, channels, rows, columns) of the residual network, fine to coarse."""
        return residual_maps(self.backbone, self.prepare(images))

    def places(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(batch, places, width) of the network's input, and their grid."""
        last = self.backbone.forward_features(pixels)
        found: Tensor = self.res_l2(self.res_l1(last.flatten(2).mT).relu())
        return found, (last.shape[2], last.shape[3])

    def project_texts(self, tokens: Tokens) -> Tensor:
        """(texts, width), not normalised."""
        projected: Tensor = self.mlp_embed(self.text(tokens).pooled)
        return projected

    def embed_images(self, images: Tensor) -> Tensor:
        """(batch, width) L2-normalised mean of the places, which the training compares with texts."""
        return F.normalize(self.places(self.prepare(images))[0].mean(1), dim=-1)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """(texts, width) L2-normalised."""
        return F.normalize(self.read(texts), dim=-1)

    def read(self, texts: Sequence[str]) -> Tensor:
        """(texts, width), not normalised, some texts at a time."""
        parts = [texts[start : start + TEXTS_AT_ONCE] for start in range(0, len(texts), TEXTS_AT_ONCE)]
        return torch.cat([self.project_texts(self.text.tokenizer(part).to(self.device)) for part in parts])

    def answer(self, places: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (batch, queries, 2) and attention of the last layer (batch, queries, places)."""
        norm = self.decoder.norm  # which the code applies to what goes into the decoder, too
        asked = norm(queries).expand(places.shape[0], -1, -1)
        features, maps = self.decoder(asked, norm(places), attention=True)
        assert maps is not None
        return self.mlp_head(features), maps[-1]

    def zero_shot(self, images: Tensor, queries: Sequence[str]) -> ZeroShot:
        """Softmax of two logits, and the attention of the last layer, of findings asked together in lower case."""
        places, grid = self.places(self.prepare(images))
        logits, maps = self.answer(places, self.read([query.lower() for query in queries]))
        return ZeroShot(logits.softmax(-1)[..., 1], maps.unflatten(-1, grid))

    def phrase_maps(self, images: Tensor, phrases: Sequence[str]) -> Tensor:
        """Attention of the last layer for the phrase, which is the only one asked of its image."""
        places, grid = self.places(self.prepare(images))
        queries = self.read([phrase.lower() for phrase in phrases])[:, None]
        return self.answer(places, queries)[1][:, 0].unflatten(-1, grid)


def recognises(content: Content) -> bool:
    """Whether there are a model, an image encoder and a text encoder, with the names of KAD."""
    groups = _groups(content)
    wanted = {IMAGE: BACKBONE, TEXT: BERT, MODEL: "decoder."}
    return all(any(name.startswith(prefix) for name in groups[group]) for group, prefix in wanted.items())


def convert(content: Content, texts: Path | None) -> Converted:
    """The file, whose vocabulary is in `texts`, the folder of Med-KEBERT (that of UMLSBert)."""
    folder = expect_folder(texts, "Med-KEBERT, or UMLSBert_ENG of the same vocabulary")
    groups = _groups(content)
    image, text, model = groups[IMAGE], groups[TEXT], groups[MODEL]
    backbone = named_children(under(image, BACKBONE))
    _expect_same(backbone, under(image, WHOLE), WHOLE)
    _expect_same(under(model, "decoder.norm."), under(model, "decoder_norm."), "decoder_norm.")
    tower = without_buffers(under(text, BERT), pooler=True)
    described = describe_resnet(backbone)
    stated, assumed = _image_size(content), SIZES.get(len(described["blocks"]), max(SIZES.values()))
    notes = () if stated else (f"The file does not say how large its images are: {assumed} pixels are assumed.",)
    settings = {
        "texts": str(folder),
        "size": stated or assumed,
        "backbone": described,
        "bert": describe_bert(tower, folder),
        "channels": size(image, "res_l1.weight"),
        "width": size(image, "res_l2.weight"),
        "hidden": size(text, "mlp_embed.0.weight"),
        "layers": count(model, "decoder.layers."),
        "feed_forward": size(model, "decoder.layers.0.linear1.weight"),
    }
    state = {f"backbone.{name}": tensor for name, tensor in backbone.items()}
    state |= {name: tensor for name, tensor in image.items() if not name.startswith((BACKBONE, WHOLE))}
    state |= {f"text.bert.{name}": tensor for name, tensor in tower.items()}
    state |= {name: tensor for name, tensor in text.items() if not name.startswith((BERT, "logit_scale"))}
    state |= {
        name.replace("mlp_head.0.", "mlp_head."): tensor
        for name, tensor in model.items()
        if not name.startswith(("decoder_norm.", "logit_scale"))
    }
    return Converted(settings, state, notes)


def at_size(converted: Converted, size: int) -> Converted:
    """A file whose images have `size` pixels on a side, which a user knows where the file does not say it."""
    stages, usual = len(converted.settings["backbone"]["blocks"]), min(SIZES.values())
    if (stages in SIZES and SIZES[stages] == usual) != (size == usual):
        raise ModelError(
            f"images of {size} pixels do not go with it: a network of {stages} stages is for images of "
            f"{usual if SIZES.get(stages) == usual else f'more than {usual}'} pixels"
        )
    return replace(converted, settings={**converted.settings, "size": size}, notes=())


def build(settings: Mapping[str, Any]) -> ReleasedKad:
    """The network of a checkpoint's settings."""
    return ReleasedKad(settings)


def _groups(content: Content) -> dict[str, dict[str, Tensor]]:
    found = {group: content.get(group) for group in (IMAGE, TEXT, MODEL)}
    return {group: tensors_of(value) if isinstance(value, Mapping) else {} for group, value in found.items()}


def _expect_same(used: Mapping[str, Tensor], again: Mapping[str, Tensor], prefix: str) -> None:
    """The code saves some weights under two names; ModelError where they are not the same numbers."""
    for name, tensor in used.items():
        if name not in again:
            raise ModelError(f"the file lacks the weight `{prefix}{name}`")
        if tensor.shape != again[name].shape or not torch.equal(tensor, again[name]):
            raise ModelError(f"`{prefix}{name}` is in the file twice, with different numbers: get the file again")


def _image_size(content: Content) -> int:
    """The side of images in the settings of the file, or 0."""
    config = content.get("config")
    value = config.get("img_res", config.get("image_res")) if isinstance(config, Mapping) else 0
    return value if isinstance(value, int) else 0
