"""CXR-CLIP's released checkpoints, with a ResNet-50 or a Swin transformer (You et al., MICCAI 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.dual_encoder import DualEncoder
from models.encoders.heads.token_mean import token_mean
from models.errors import ModelError
from models.method import TextSource, Tokens
from models.released.files.containers import Content, tensors_of
from models.released.network import ReleasedNetwork
from models.released.opening import Converted
from models.released.parts.bert import BertPieces, TextTower, describe_bert, expect_folder, without_buffers
from models.released.parts.films import IMAGENET_MEAN, IMAGENET_STD, centre, normalise, shorter_side
from models.released.parts.states import size, under
from models.released.parts.towers import RESNET, SIZE, SWIN, ImageTower, describe_tower
from models.text.prompts import PromptPair

SOURCE = "You et al., CXR-CLIP, MICCAI 2023, arXiv 2310.13292; github.com/kakaobrain/cxr-clip"
LICENCE = "The repository is under CC BY-NC-SA 4.0: no commercial use, and the same terms for what is made of it."
TOWERS = {"image_encoder.resnet.": RESNET, "image_encoder.image_encoder.": SWIN}
TEXT = "text_encoder.text_encoder."
LENGTH = 256  # tokens, where the file's settings do not say
POOLING = "eos"
POOLINGS = ("eos", "bos", "mean")


class ReleasedCxrClip(ReleasedNetwork, DualEncoder):
    """The two towers with a linear head each.

    A Swin transformer's vector is the first of its places, as if it were a class token. A text's is its last token's.
    Scores are the softmax of the cosines with `No X` and `X`, without temperature. The code has no maps: here they are
    the cosines of the places after the image's head, from 0 (opposite) to 1 (same), over the middle square of a film.
    """

    size = SIZE
    prompts = PromptPair("{}", "No {}")

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.image = ImageTower(settings["image"])
        self.text = TextTower(settings["bert"], BertPieces(settings["texts"], settings["length"]))
        self.pooling: str = settings["pooling"]
        self.image_projection = nn.Linear(self.image.width, settings["dim"])
        self.text_projection = nn.Linear(self.text.width, settings["dim"])
        self.logit_scale = nn.Parameter(torch.zeros(()))
        self.texts = TextSource(self.text.tokenizer)

    def film(self, film: np.ndarray) -> Tensor:
        """(3, 224, 224): the shorter side resized, the middle cut out."""
        middle = centre(shorter_side(film, SIZE), SIZE)
        if self.image.kind == RESNET:
            return normalise(middle, IMAGENET_MEAN, IMAGENET_STD)
        return normalise(middle, (0.5,), (0.5,)).expand(3, -1, -1)

    def pool(self, last: Tensor) -> Tensor:
        """(batch, width) of the last map (batch, width, rows, columns)."""
        return last.mean((2, 3)) if self.image.kind == RESNET else last[:, :, 0, 0]

    def image_features(self, images: Tensor) -> Tensor:
        """(batch, width) before the linear head."""
        return self.pool(self.image(self.prepare(images)))

    def image_maps(self, images: Tensor) -> list[Tensor]:
        """Maps (batch, channels, rows, columns) of the image tower, fine to coarse."""
        return self.image.maps(self.prepare(images))

    def project_images(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Vectors (batch, dim), those of the places (batch, places, dim), and the grid."""
        last = self.image(images)
        local = self.image_projection(last.flatten(2).mT)
        return self.image_projection(self.pool(last)), local, (last.shape[2], last.shape[3])

    def pool_texts(self, tokens: Tokens) -> Tensor:
        """(texts, width) before the linear head."""
        hidden = self.text(tokens).last
        if self.pooling == "bos":
            return hidden[:, 0]
        if self.pooling == "mean":
            return token_mean(hidden, tokens.mask)
        return hidden[torch.arange(len(hidden), device=hidden.device), tokens.mask.sum(1) - 1]

    def project_texts(self, tokens: Tokens) -> Tensor:
        """(texts, dim), not normalised."""
        projected: Tensor = self.text_projection(self.pool_texts(tokens))
        return projected


def recognises(content: Content) -> bool:
    """Whether the names are CXR-CLIP's: an image encoder of one of the two kinds, and a text encoder in an encoder."""
    names = _tensors(content)
    return any(name.startswith(TEXT) for name in names) and any(name.startswith(tuple(TOWERS)) for name in names)


def convert(content: Content, texts: Path | None) -> Converted:
    """The file, whose vocabulary is in `texts`, the folder of Bio_ClinicalBERT."""
    folder = expect_folder(texts, "Bio_ClinicalBERT")
    found = _tensors(content)
    prefix = next(prefix for prefix in TOWERS if any(name.startswith(prefix) for name in found))
    image, image_state = describe_tower(TOWERS[prefix], under(found, prefix))
    tower = without_buffers(under(found, TEXT))
    pooling = _setting(content, "model", "text_encoder", "pooling") or POOLING
    if pooling not in POOLINGS:
        raise ModelError(f"the file's text vectors are pooled by `{pooling}`, and known are {', '.join(POOLINGS)}")
    settings = {
        "texts": str(folder),
        "image": image,
        "bert": describe_bert(tower, folder),
        "dim": size(found, "image_projection.projection.weight"),
        "length": int(_setting(content, "base", "text_max_length") or LENGTH),
        "pooling": pooling,
    }
    state = {
        name.replace("projection.projection.", "projection."): tensor
        for name, tensor in found.items()
        if not name.startswith((prefix, TEXT))
    }
    state |= {f"image.network.{name}": tensor for name, tensor in image_state.items()}
    state |= {f"text.bert.{name}": tensor for name, tensor in tower.items()}
    return Converted(settings, state)


def build(settings: Mapping[str, Any]) -> ReleasedCxrClip:
    """The network of a checkpoint's settings."""
    return ReleasedCxrClip(settings)


def _tensors(content: Content) -> dict[str, Tensor]:
    model = content.get("model")
    return tensors_of(model) if isinstance(model, Mapping) else {}


def _setting(content: Content, *path: str) -> str | int | None:
    """A value in the settings that the file brings, or None."""
    value: Any = content.get("config")
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, (str, int)) else None
