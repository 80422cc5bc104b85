"""PRIOR's released checkpoint (Cheng et al., ICCV 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.method import Tokens, ZeroShot
from models.released.files.containers import Content
from models.released.network import ReleasedNetwork
from models.released.opening import Converted
from models.released.parts.bert import BertPieces, TextTower, describe_bert, expect_folder, without_buffers
from models.released.parts.films import normalise, squash
from models.released.parts.resnet import describe_resnet, residual_maps, resnet
from models.released.parts.states import size, under, weights_of

SOURCE = "Cheng et al., PRIOR, ICCV 2023, arXiv 2307.12577; github.com/QtacierP/PRIOR"
LICENCE = "The repository's licence is Apache-2.0."
BACKBONE, TEXT = "image_encoder.encoder.", "text_encoder.encoder."
POOLS = {"image_encoder.atten_pool.": "image_pool.", "global_text_attention.": "text_pool."}
BANK = "sentence_bank.embed.weight"
UNUSED = (
    "sentence_decoder.", "image_decoder.", "prototype_queries", "predictor.", "local_logit_scale",
    "local_cross_attention.value", "global_text_projection.",
)  # fmt: skip
SIZE = 224
HEADS = 8
MEAN, STD = 0.5062731200407803, 0.28946775394688107  # of grey levels 0..1
LENGTH = 256  # tokens
TEMPERATURE = 0.9  # of the choice among the sentences of the bank
LOCAL_WEIGHT = 0.5  # of the attention between places and sentence in a score
PROMPT = "{} is observed"
TEXTS_AT_ONCE = 256
NOTE = "The authors' code scores findings with noise, anew in every run: here they are scored without it."


class AttentionPool(nn.Module):
    """CLIP's: the mean of the places looks at all of them and at itself."""

    def __init__(self, width: int, places: int) -> None:
        """Without positions where `places` is 0."""
        super().__init__()
        if places:
            self.positional_embedding = nn.Parameter(torch.zeros(places, width))
        self.positions = bool(places)
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.c_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, width) -> (batch, width)."""
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1)
        if self.positions:
            tokens = tokens + self.positional_embedding
        projected = self.q_proj(tokens[:, :1]), self.k_proj(tokens), self.v_proj(tokens)
        heads = [part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in projected]
        seen = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        pooled: Tensor = self.c_proj(seen)[:, 0]
        return pooled


class ReleasedPrior(ReleasedNetwork):
    """The network at test.

    What the code calls places mixes channels and places of the last stage, because it reads the numbers of its map in
    another order than they lie. Scores depend on it, and there are no maps: a finding's is one cell of 1.

    The code draws from the bank of sentences with Gumbel noise at test, too, so that its scores change from call to
    call. `zero_shot` leaves the noise out: it has the same expectation for all sentences, and with that in its place
    it does not change the choice. `embed_texts` is of the vectors before the bank, which have no noise.
    """

    size = SIZE

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        channels, dim = settings["channels"], settings["dim"]
        self.backbone = resnet(**settings["backbone"])
        self.image_pool = AttentionPool(channels, settings["positions"])
        self.global_image_projection = nn.Linear(channels, dim)
        self.local_image_projection = nn.Linear(channels, dim)
        self.text = TextTower(settings["bert"], BertPieces(settings["texts"], LENGTH))
        self.local_text_projection = nn.Linear(self.text.width, dim)
        self.text_pool = AttentionPool(dim, 0)
        self.sentences = nn.Parameter(torch.zeros(settings["sentences"], dim))
        self.local_cross_attention = nn.ModuleDict(
            {f"{part}{side}": nn.Linear(dim, dim) for side in (1, 2) for part in ("query", "key")}
        )
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def film(self, film: np.ndarray) -> Tensor:
        """(1, 224, 224): squashed."""
        return normalise(squash(film, SIZE), (MEAN,), (STD,))

    def image_features(self, images: Tensor) -> Tensor:
        """(batch, channels) of the attention pool, before the projection."""
        return self.look(self.prepare(images))[0]

    def image_maps(self, images: Tensor) -> list[Tensor]:
        """Maps (batch, channels, rows, columns) of the residual network, fine to coarse."""
        return residual_maps(self.backbone, self.prepare(images))

    def look(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled (batch, channels), and what the code calls places (batch, places, channels)."""
        last = self.backbone.forward_features(pixels)
        return self.image_pool(last.flatten(2).mT), last.reshape(last.shape[0], -1, last.shape[1])

    def embed_images(self, images: Tensor) -> Tensor:
        """(batch, dim) L2-normalised."""
        return F.normalize(self.global_image_projection(self.look(self.prepare(images))[0]), dim=-1)

    def project_texts(self, tokens: Tokens) -> Tensor:
        """(texts, dim) before the bank: the mean of all tokens but [CLS], [SEP] among them, projected."""
        hidden, mask = self.text(tokens).last[:, 1:], tokens.mask[:, 1:, None]
        projected: Tensor = self.local_text_projection((hidden * mask).sum(1) / mask.sum(1))
        return projected

    def read(self, texts: Sequence[str]) -> Tensor:
        """(texts, dim) before the bank, some texts at a time."""
        parts = [texts[start : start + TEXTS_AT_ONCE] for start in range(0, len(texts), TEXTS_AT_ONCE)]
        return torch.cat([self.project_texts(self.text.tokenizer(part).to(self.device)) for part in parts])

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """(texts, dim) L2-normalised, before the bank."""
        return F.normalize(self.read(texts), dim=-1)

    def from_bank(self, vectors: Tensor, noise: bool = False) -> Tensor:
        """(texts, dim): a soft choice among the sentences of the bank; `noise` draws as the code does, text by text."""
        found = []
        for logits in (vectors @ self.sentences.T).split(1):
            weights = F.gumbel_softmax(logits, TEMPERATURE) if noise else (logits / TEMPERATURE).softmax(-1)
            found.append(weights @ self.sentences)
        return torch.cat(found)

    def match(self, pooled: Tensor, places: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled cosines, and mean attention between places and text, both (batch, texts).

        `chosen` (texts, dim) is what the bank gave; the others are what `look` did. The code multiplies by the
        logarithm of the scale as it is in the file.
        """
        images = F.normalize(self.global_image_projection(pooled), dim=-1)
        texts = F.normalize(self.text_pool(chosen[:, None]), dim=-1)
        places, attend = self.local_image_projection(places), self.local_cross_attention
        scale = places.shape[-1] ** -0.5
        there = (attend["query1"](places) @ attend["key2"](chosen).T * scale).sigmoid()
        back = (attend["key1"](places) @ attend["query2"](chosen).T * scale).sigmoid()
        return self.logit_scale * images @ texts.T, (there.mean(1) + back.mean(1)) / 2

    def zero_shot(self, images: Tensor, queries: Sequence[str]) -> ZeroShot:
        """Scores of `X is observed`: softmax over the findings asked of the scaled cosines, plus half that of the
        attention, divided by its largest value of 1.5; the map of a finding is one cell of 1.

        The answer to one finding hence depends on which others are asked with it. One alone has its cosine, from 0
        (opposite) to 1 (same), as its score.
        """
        chosen = self.from_bank(self.read([PROMPT.format(query) for query in queries]))
        logits, local = self.match(*self.look(self.prepare(images)), chosen)
        scores = total(logits, local) / (1 + LOCAL_WEIGHT)
        if len(queries) == 1:
            scores = (1 + logits / self.logit_scale) / 2
        return ZeroShot(scores, scores.new_ones(*scores.shape, 1, 1))


def total(logits: Tensor, local: Tensor) -> Tensor:
    """(batch, texts) in 0..1.5: the code's score of texts of which one is true."""
    return logits.softmax(1) + LOCAL_WEIGHT * local.softmax(1)


def recognises(content: Content) -> bool:
    """Whether the names are PRIOR's: an encoder of images in an encoder, and attention between places and sentences."""
    return all(any(str(name).startswith(prefix) for name in content) for prefix in (BACKBONE, "local_cross_attention."))


def convert(content: Content, texts: Path | None) -> Converted:
    """The file, whose vocabulary is in `texts`, the folder of Bio_ClinicalBERT; what only trains is left out."""
    folder = expect_folder(texts, "Bio_ClinicalBERT")
    found = {name: tensor for name, tensor in weights_of(content).items() if not name.startswith(UNUSED)}
    backbone, tower = under(found, BACKBONE), without_buffers(under(found, TEXT))
    settings = {
        "texts": str(folder),
        "backbone": describe_resnet(backbone),
        "bert": describe_bert(tower, folder),
        "channels": size(found, "global_image_projection.weight", 1),
        "dim": size(found, "global_image_projection.weight"),
        "positions": size(found, "image_encoder.atten_pool.positional_embedding"),
        "sentences": size(found, BANK),
    }
    state = {f"backbone.{name}": tensor for name, tensor in backbone.items()}
    state |= {f"text.bert.{name}": tensor for name, tensor in tower.items()}
    for name, tensor in found.items():
        if name.startswith((BACKBONE, TEXT)):
            continue
        pool = next((prefix for prefix in POOLS if name.startswith(prefix)), "")
        state["sentences" if name == BANK else POOLS[pool] + name.removeprefix(pool) if pool else name] = tensor
    return Converted(settings, state, (NOTE,))


def build(settings: Mapping[str, Any]) -> ReleasedPrior:
    """The network of a checkpoint's settings."""
    return ReleasedPrior(settings)
