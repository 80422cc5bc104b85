"""MedCLIP's released checkpoints, with a ResNet-50 or a Swin transformer (Wang et al., EMNLP 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from models.dual_encoder import DualEncoder
from models.method import TextSource, Tokens, ZeroShot
from models.released.files.containers import Content
from models.released.network import ReleasedNetwork
from models.released.opening import Converted
from models.released.parts.bert import BertPieces, TextTower, describe_bert, expect_folder, without_buffers
from models.released.parts.films import normalise, squash
from models.released.parts.states import size, under, weights_of
from models.released.parts.towers import RESNET, SIZE, SWIN, ImageTower, describe_tower
from models.text.gloria_prompts import sample_prompts

SOURCE = "Wang et al., MedCLIP, EMNLP 2022, arXiv 2210.10163; github.com/RyanWangZf/MedCLIP"
LICENCE = "No licence is stated: ask the authors before you pass the weights or results on."
IMAGE, TEXT = "vision_model.model.", "text_model.model."
HEADS = {RESNET: "vision_model.model.fc.", SWIN: "vision_model.projection_head."}
TEXT_HEAD = "text_model.projection_head."
MEAN, STD = 0.5862785803043838, 0.27950088968644304  # of grey levels 0..1
LENGTH = 77  # tokens
LAYERS = (1, 2, -1)  # whose mean a text's vector is
LARGEST_SCALE = 4.6052  # of the logarithm of the logits' scale
PROMPTS, SEED = 10, 0  # of a finding
NOTE = "Findings are asked for in ten prompts of Radalign's words, where the authors draw ten of GLoRIA's."


class ReleasedMedclip(ReleasedNetwork, DualEncoder):
    """The two towers with a linear head each.

    A text's vector is a mean over all positions, padding too, so that it depends on the longest text it is read with:
    `embed_texts` reads up to 256 texts together, and the prompts of a finding are read together, as in the code.
    """

    size = SIZE

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.image = ImageTower(settings["image"])
        self.text = TextTower(settings["bert"], BertPieces(settings["texts"], LENGTH))
        self.image_projection = nn.Linear(self.image.width, settings["dim"], bias=False)
        self.text_projection = nn.Linear(self.text.width, settings["dim"], bias=False)
        self.logit_scale = nn.Parameter(torch.zeros(()))
        self.texts = TextSource(self.text.tokenizer)

    def film(self, film: np.ndarray) -> Tensor:
        """(3, 224, 224): in the middle of a black square of 224 or more, squashed by a cubic filter."""
        small = squash(on_square(film, SIZE), SIZE, Image.Resampling.BICUBIC)
        return normalise(small, (MEAN,), (STD,)).expand(3, -1, -1)

    def image_features(self, images: Tensor) -> Tensor:
        """(batch, width) mean of the last stage, before the linear head."""
        return self.image(self.prepare(images)).mean((2, 3))

    def image_maps(self, images: Tensor) -> list[Tensor]:
        """Maps (batch, channels, rows, columns) of the image tower, fine to coarse."""
        return self.image.maps(self.prepare(images))

    def project_images(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Vectors (batch, dim), those of the places (batch, places, dim), of which they are the mean, and the grid."""
        last = self.image(images)
        local = self.image_projection(last.flatten(2).mT)
        return local.mean(1), local, (last.shape[2], last.shape[3])

    def project_texts(self, tokens: Tokens) -> Tensor:
        """(texts, dim), not normalised."""
        hidden = self.text(tokens).hidden
        pooled = torch.stack([hidden[layer] for layer in LAYERS]).mean((0, 2))
        projected: Tensor = self.text_projection(pooled)
        return projected

    @property
    def scale(self) -> Tensor:
        """() by which the code multiplies cosines."""
        return self.logit_scale.clamp(0, LARGEST_SCALE).exp()

    def class_cosines(self, vectors: Tensor, classes: Sequence[Sequence[str]], mean: bool = True) -> Tensor:
        """(batch, classes): mean cosine of unit vectors (batch, dim) with the prompts of a class, or the largest."""
        cosines = [vectors @ self.embed_texts(prompts).T for prompts in classes]
        return torch.stack([found.mean(1) if mean else found.amax(1) for found in cosines], dim=1)

    def zero_shot(self, images: Tensor, queries: Sequence[str]) -> ZeroShot:
        """Scores: the mean cosine with ten prompts of a finding, from 0 (opposite) to 1 (same).

        The code gives it times `scale`, and neither a softmax nor a sigmoid of it. It draws the prompts from GLoRIA's
        words for five findings: here always the same ten, of Radalign's words; another finding's prompt is its name.
        The code has no maps: these are the cosines of the places with the mean of the prompts, from 0 to 1, over the
        square that the film lies in.
        """
        prompts = [sample_prompts(query, PROMPTS, SEED) or [query] for query in queries]
        texts = torch.stack([self.embed_texts(group).mean(0) for group in prompts])
        pooled, local, grid = self.project_images(self.prepare(images))
        cosines = F.normalize(pooled, dim=-1) @ texts.T
        places = F.normalize(local, dim=-1) @ F.normalize(texts, dim=-1).T
        return ZeroShot((1 + cosines) / 2, (1 + places.mT.unflatten(-1, grid)) / 2)


def on_square(film: np.ndarray, least: int) -> np.ndarray:
    """The film in the middle of a black square of its longer side, and of no less than `least`."""
    side = max(least, *film.shape)
    square = np.zeros((side, side), np.uint8)
    top, left = ((side - length) // 2 for length in film.shape)
    square[top : top + film.shape[0], left : left + film.shape[1]] = film
    return square


def recognises(content: Content) -> bool:
    """Whether the names are MedCLIP's: models in a model for images and for texts."""
    return all(any(str(name).startswith(prefix) for name in content) for prefix in ("vision_model.", TEXT))


def convert(content: Content, texts: Path | None) -> Converted:
    """The file, whose vocabulary is in `texts`, the folder of Bio_ClinicalBERT."""
    folder = expect_folder(texts, "Bio_ClinicalBERT")
    found = weights_of(content)
    kind = SWIN if any(name.startswith(f"{IMAGE}encoder.") for name in found) else RESNET
    head = HEADS[kind]
    image, image_state = describe_tower(
        kind, {name: tensor for name, tensor in under(found, IMAGE).items() if not (IMAGE + name).startswith(head)}
    )
    tower = without_buffers(under(found, TEXT))
    settings = {
        "texts": str(folder),
        "image": image,
        "bert": describe_bert(tower, folder),
        "dim": size(found, f"{TEXT_HEAD}weight"),
    }
    state = {f"image.network.{name}": tensor for name, tensor in image_state.items()}
    state |= {f"text.bert.{name}": tensor for name, tensor in tower.items()}
    state |= {f"image_projection.{name}": tensor for name, tensor in under(found, head).items()}
    state |= {f"text_projection.{name}": tensor for name, tensor in under(found, TEXT_HEAD).items()}
    done = (IMAGE, TEXT, head, TEXT_HEAD)
    state |= {name: tensor for name, tensor in found.items() if not name.startswith(done)}
    return Converted(settings, state, (NOTE,))


def build(settings: Mapping[str, Any]) -> ReleasedMedclip:
    """The network of a checkpoint's settings."""
    return ReleasedMedclip(settings)
