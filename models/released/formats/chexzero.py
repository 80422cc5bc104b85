"""CheXzero's released checkpoints (Tiu et al., Nat. Biomed. Eng. 2022), and OpenAI's CLIPs, those with ResNets too."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.dual_encoder import DualEncoder
from models.encoders.clip import ClipImageEncoder, ClipTextEncoder
from models.encoders.image import HEAD_WIDTH
from models.errors import ModelError
from models.method import TextSource, Tokens
from models.released.files.containers import Content
from models.released.network import ReleasedNetwork
from models.released.opening import Converted
from models.released.parts.clip_resnet import POSITIONS, ClipResNet, describe_clip_resnet
from models.released.parts.films import paste_square
from models.released.parts.states import count, size, under, weights_of
from models.text.clip_tokenizer import ClipTokenizer
from models.text.prompts import PromptPair

SOURCE = "Tiu et al., CheXzero, Nat. Biomed. Eng. 2022; github.com/rajpurkarlab/CheXzero"
LICENCE = "The repository is under the MIT licence; of the weights it states nothing else."
FILE = 320  # side of the films in the authors' files
MEAN, STD = 101.48761, 83.43944
ARGUMENTS = "arguments.json"  # of the class CLIP, in the folder given for texts: heads of a text tower of odd width
FACTS = ("input_resolution", "context_length", "vocab_size")  # which OpenAI's archives keep beside the weights
MASK = "attn_mask"
PROJECTION = "visual.proj"
IMAGE = "visual."
POOL = f"{IMAGE}{POSITIONS}"  # of a residual image tower


class ReleasedChexzero(ReleasedNetwork, DualEncoder):
    """CLIP's towers.

    Films of 320 pixels are resized after their normalisation, on tensors, bicubic. torchvision before 0.17 did so
    without `antialias`, also the version that the authors name; later ones smooth. A finding's probability is the
    softmax of its cosines with `{}` and `no {}`; with `standardised` it is the authors' other choice, the logistic
    function of the cosines with `{}`, standardised over the findings of a film. Maps are not theirs: the cosines of the
    patches, through the projection of the class token, with the finding.
    """

    size = FILE
    antialias = True
    standardised = False
    prompts = PromptPair(literal=True)

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        tokenizer = ClipTokenizer(settings["context"])
        if tokenizer.vocabulary > settings["vocabulary"]:
            raise ModelError(
                f"the text tower knows {settings['vocabulary']} pieces, and CLIP's vocabulary has "
                f"{tokenizer.vocabulary}"
            )
        self.resolution = int(settings["image_size"])
        if "blocks" in settings:
            self.visual: Any = ClipResNet(settings["blocks"], settings["width"], self.resolution, settings["dim"])
        else:
            self.visual = ClipImageEncoder(
                settings["layers"], settings["width"], max(1, settings["width"] // HEAD_WIDTH), settings["patch"],
                self.resolution, settings["dim"],
            )  # fmt: skip
        self.text = ClipTextEncoder(
            settings["text_layers"], settings["text_width"], settings["text_heads"], settings["context"],
            settings["vocabulary"], settings["dim"],
        )  # fmt: skip
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.texts = TextSource(tokenizer, sections=("impression",))

    def film(self, film: np.ndarray) -> Tensor:
        """(3, side, side): pasted into a square of 320, normalised, resized to the network's size if that differs."""
        levels = (torch.from_numpy(paste_square(film, FILE)).float() - MEAN) / STD
        if self.resolution != FILE:
            side = (self.resolution, self.resolution)
            levels = F.interpolate(levels[None, None], size=side, mode="bicubic", antialias=self.antialias)[0, 0]
        return levels.expand(3, -1, -1)

    def project_images(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Vectors (batch, dim) and patches (batch, patches, dim) of the network's input, not normalised; the grid."""
        features = self.visual(images)
        return self.visual.project(features.pooled), self.visual.project(features.local), features.grid

    def project_texts(self, tokens: Tokens) -> Tensor:
        """(texts, dim) of the end tokens, not normalised."""
        return self.text.project(self.text(tokens).pooled)

    def presence(self, positive: Tensor, negative: Tensor) -> Tensor:
        """(batch, queries) in 0..1 from the cosines with the two prompts."""
        if self.standardised:
            return F.layer_norm(positive, positive.shape[-1:], eps=1e-12).sigmoid()
        return super().presence(positive, negative)

    def image_features(self, images: Tensor) -> Tensor:
        """(batch, width): the class token after the last norm; of a residual network its attention pool."""
        pooled: Tensor = self.visual(self.prepare(images)).pooled
        return pooled

    def image_maps(self, images: Tensor) -> list[Tensor]:
        """The patch tokens as one map (batch, width, rows, columns), or the maps of a residual network."""
        maps: list[Tensor] = self.visual.maps(self.prepare(images))
        return maps

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """CLIP's byte pairs, padded to the longest."""
        assert self.texts is not None
        return self.texts.tokens(texts, self.device)


def recognises(content: Content) -> bool:
    """Whether the names are those of OpenAI's CLIP, without wrappers."""
    common = {"visual.conv1.weight", "token_embedding.weight", "text_projection"} <= content.keys()
    return common and (PROJECTION in content or POOL in content)


def convert(content: Content, texts: Path | None) -> Converted:
    """The file, one of `torch.save` or of TorchScript; it needs no `texts`.

    `arguments.json` in that folder gives `transformer_heads` where the text tower's are not 64 wide.
    """
    found = {
        name: tensor
        for name, tensor in weights_of(content).items()
        if name not in FACTS and name.rpartition(".")[2] != MASK
    }
    text_width = size(found, "token_embedding.weight", 1)
    settings = {
        **(describe_clip_resnet(under(found, IMAGE)) if POOL in found else _describe_transformer(found)),
        "text_layers": count(found, "transformer.resblocks."),
        "text_width": text_width,
        "text_heads": _heads(texts, text_width),
        "context": size(found, "positional_embedding"),
        "vocabulary": size(found, "token_embedding.weight"),
    }
    state = {
        name if name.startswith("visual.") or name == "logit_scale" else f"text.{name}": tensor
        for name, tensor in found.items()
    }
    return Converted(settings, state)


def _describe_transformer(found: Mapping[str, Tensor]) -> dict[str, Any]:
    """Sizes of a vision transformer."""
    patch = size(found, "visual.conv1.weight", 3)
    patches = max(0, size(found, "visual.positional_embedding") - 1)
    if math.isqrt(patches) ** 2 != patches:
        raise ModelError(f"`visual.positional_embedding` has {patches} positions of patches, which are no square")
    return {
        "layers": count(found, "visual.transformer.resblocks."),
        "width": size(found, PROJECTION),
        "patch": patch,
        "image_size": math.isqrt(patches) * patch,
        "dim": size(found, PROJECTION, 1),
    }


def build(settings: Mapping[str, Any]) -> ReleasedChexzero:
    """The network of a checkpoint's settings."""
    return ReleasedChexzero(settings)


def _heads(texts: Path | None, width: int) -> int:
    if texts is not None and (texts / ARGUMENTS).is_file():
        return int(json.loads((texts / ARGUMENTS).read_text(encoding="utf-8"))["transformer_heads"])
    return max(1, width // HEAD_WIDTH)
