"""ConVIRT as edreisMD wrote and trained it (github.com/edreisMD/ConVIRT-pytorch); the paper's authors released none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from models.dual_encoder import DualEncoder
from models.method import TextSource, Tokens
from models.released.files.containers import Content
from models.released.network import ReleasedNetwork
from models.released.opening import Converted
from models.released.parts.bert import TextTower, describe_bert, expect_folder, without_buffers
from models.released.parts.films import IMAGENET_MEAN, IMAGENET_STD, normalise, squash
from models.released.parts.resnet import COLOURS, describe_resnet, named_children, residual_maps, resnet
from models.released.parts.states import size, under, weights_of
from models.text.tokenizer import WordPieceTokenizer

SOURCE = "Zhang et al., ConVIRT, MLHC 2022, arXiv 2010.00747, by github.com/edreisMD/ConVIRT-pytorch"
LICENCE = "The code is MIT; of the weights it states nothing else."
BACKBONE, TEXTS = "res_features.", "bert_model."
SIZE = 224


class ReleasedConvirt(ReleasedNetwork, DualEncoder):
    """The two towers with their heads of two layers.

    The code has no preparation of films for tests; here they are squashed to the network's size, as in its training. It
    rounds the mean of a text's tokens to float16 before the head, for mixed precision; here this is left out unless
    `rounded` is set. It classifies nothing without training: a finding is scored by the softmax of the cosines with the
    finding and `no` finding, and located by the cosines of the places, each through the image's head.
    """

    size = SIZE
    rounded = False

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.backbone = resnet(**settings["backbone"])
        channels = self.backbone.num_features
        self.res_l1, self.res_l2 = nn.Linear(channels, channels), nn.Linear(channels, settings["dim"])
        self.text = TextTower(settings["bert"], WordPieceTokenizer(settings["texts"], settings["longest"]))
        self.bert_l1 = nn.Linear(self.text.width, self.text.width)
        self.bert_l2 = nn.Linear(self.text.width, settings["dim"])
        self.texts = TextSource(self.text.tokenizer)

    def film(self, film: np.ndarray) -> Tensor:
        """(3, 224, 224): squashed, normalised by ImageNet's channels."""
        return normalise(squash(film, SIZE), IMAGENET_MEAN, IMAGENET_STD)

    def features(self, pixels: Tensor) -> Tensor:
        """(batch, channels, rows, columns) of the last stage, of the network's input."""
        found: Tensor = self.backbone.forward_features(pixels)
        return found

    def project_images(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Vectors (batch, dim) and places (batch, places, dim) of the network's input, not normalised; the grid."""
        last = self.features(images)
        places = self._head(last.flatten(2).transpose(1, 2))
        return self._head(last.mean((2, 3))), places, (last.shape[2], last.shape[3])

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """Texts as they are, padded to the longest."""
        return self.text.tokenizer(texts).to(self.device)

    def sentences(self, tokens: Tokens) -> Tensor:
        """(texts, width): the mean over the tokens, [CLS] and [SEP] included."""
        mask = tokens.mask[..., None]
        return (self.text(tokens).last * mask).sum(1) / mask.sum(1)

    def project_texts(self, tokens: Tokens) -> Tensor:
        """(texts, dim), not normalised."""
        return self.project_sentences(self.sentences(tokens))

    def project_sentences(self, sentences: Tensor) -> Tensor:
        """(texts, width) -> (texts, dim): through the head."""
        if self.rounded:
            sentences = sentences.half().float()
        projected: Tensor = self.bert_l2(self.bert_l1(sentences).relu())
        return projected

    def image_features(self, images: Tensor) -> Tensor:
        """(batch, channels) mean of the last stage."""
        return self.features(self.prepare(images)).mean((2, 3))

    def image_maps(self, images: Tensor) -> list[Tensor]:
        """Maps (batch, channels, rows, columns) of the residual network, fine to coarse."""
        return residual_maps(self.backbone, self.prepare(images))

    def _head(self, features: Tensor) -> Tensor:
        projected: Tensor = self.res_l2(F.relu(self.res_l1(features)))
        return projected


def recognises(content: Content) -> bool:
    """Whether the towers are called `res_features` and `bert_model`, and lie bare in the file."""
    return all(any(str(name).startswith(prefix) for name in content) for prefix in (BACKBONE, TEXTS, "bert_l1."))


def convert(content: Content, texts: Path | None) -> Converted:
    """The file; `texts` is the folder of the BERT that it was trained with."""
    found = weights_of(content)
    folder = expect_folder(texts, "Bio_ClinicalBERT, or another that the network was trained with")
    backbone = named_children(under(found, BACKBONE))
    tower = without_buffers(under(found, TEXTS))
    described = describe_bert(tower, folder)
    settings = {
        "backbone": describe_resnet(backbone, COLOURS),
        "bert": described,
        "texts": str(folder),
        "longest": described["max_position_embeddings"],
        "dim": size(found, "res_l2.weight"),
    }
    state = {name: tensor for name, tensor in found.items() if not name.startswith((BACKBONE, TEXTS))}
    state |= {f"backbone.{name}": tensor for name, tensor in backbone.items()}
    state |= {f"text.bert.{name}": tensor for name, tensor in tower.items()}
    return Converted(settings, state)


def build(settings: Mapping[str, Any]) -> ReleasedConvirt:
    """The network of a checkpoint's settings."""
    return ReleasedConvirt(settings)
