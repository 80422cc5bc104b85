"""BioViL's released image file and the folder of its text encoder (Boecking et al., ECCV 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from models.dual_encoder import DualEncoder
from models.encoders.heads.biovil_projection import TextProjection, patch_projection
from models.encoders.patch_maps import lay_on_film, smoothed_cosines
from models.errors import ModelError
from models.method import TextSource, Tokens, ZeroShot
from models.released.files.containers import Content, read_content, tensors_of
from models.released.network import ReleasedNetwork
from models.released.opening import Converted
from models.released.parts.bert import Prompts, TextTower, describe_bert, expect_folder, without_buffers
from models.released.parts.films import centre, normalise, shorter_side
from models.released.parts.maps import on_whole
from models.released.parts.resnet import describe_resnet, residual_maps, resnet
from models.released.parts.states import size, under
from models.text.prompts import PromptPair

SOURCE = "Boecking et al., Making the most of text semantics, ECCV 2022, arXiv 2204.09817; github.com/microsoft/hi-ml"
LICENCE = "The code is MIT; the weights are released for research use, not for clinical use."
WHICH = "BiomedVLP-CXR-BERT-specialized, with its weights"  # the folder of the text encoder
BACKBONE, HEAD = "encoder.encoder.", "projector.model."
TEMPORAL = ("encoder.missing_previous_emb", "encoder.backbone_to_vit.", "encoder.vit_pooler.")  # of BioViL-T
CLASSIFIER = "fc."  # of ImageNet, which torchvision's class leaves in the file
LANGUAGE_HEAD = "cls.predictions."
TEXT_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
RESIZED, CROPPED = 512, 480  # pixels
LENGTH = 512  # tokens


class ReleasedBiovil(ReleasedNetwork, DualEncoder):
    """The two towers. An image's vector is the mean of its projected patches.

    The authors' code compares images with prompts and does not classify. As in their paper a finding is scored by two
    prompts, here with the softmax of the two cosines, without temperature. Maps are the smoothed cosines, from 0
    (opposite) to 1 (same), on the whole film, or the middle square of one that is not square: 0 in the margin that the
    network does not see.
    """

    size = RESIZED
    cropped = CROPPED
    prompts = PromptPair("Findings suggesting {}", "No evidence of {}")
    unit_prompts = False

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.backbone = resnet(**settings["backbone"])
        hidden, dim = settings["hidden"], settings["dim"]
        self.projector = patch_projection(settings["patch_width"], hidden, dim)
        self.text = TextTower(settings["bert"], Prompts(settings["texts"], LENGTH))
        self.text_projection = TextProjection(self.text.width, settings["text_hidden"], dim)
        self.texts = TextSource(self.text.tokenizer)

    def film(self, film: np.ndarray) -> Tensor:
        """(3, side, side): stretched to all grey levels, the shorter side resized, the middle cut out."""
        middle = centre(shorter_side(stretch(film), RESIZED, Image.Resampling.BILINEAR), self.cropped)
        return normalise(middle, (0.0,), (1.0,)).expand(3, -1, -1)

    def patches(self, pixels: Tensor) -> Tensor:
        """(batch, width, rows, columns) of the network's input."""
        found: Tensor = self.backbone.forward_features(pixels)
        return found

    def image_features(self, images: Tensor) -> Tensor:
        """(batch, width) mean of the patches."""
        return self.patches(self.prepare(images)).mean((2, 3))

    def image_maps(self, images: Tensor) -> list[Tensor]:
        """Maps (batch, channels, rows, columns) of the residual network, fine to coarse."""
        return residual_maps(self.backbone, self.prepare(images))

    def project_images(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Vectors (batch, dim), the mean of those of the patches (batch, patches, dim), and the grid."""
        return self.project_patches(self.patches(images))

    def project_patches(self, patches: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """`project_images` of what `patches` gives."""
        projected = self.projector(patches)
        local = projected.flatten(2).transpose(1, 2)
        return local.mean(1), local, (projected.shape[2], projected.shape[3])

    def project_texts(self, tokens: Tokens) -> Tensor:
        """(texts, dim), not normalised."""
        projected: Tensor = self.text_projection(self.text(tokens).last[:, 0])
        return projected

    def prompt_vector(self, prompts: Sequence[str]) -> Tensor:
        """(dim,) of several prompts that mean the same: the mean of their vectors as they are, then normalised."""
        tokens = self.text.tokenizer(prompts).to(self.device)
        return F.normalize(self.project_texts(tokens).mean(0), dim=-1)

    def zero_shot(self, images: Tensor, queries: Sequence[str]) -> ZeroShot:
        """Softmax of the cosines with `Findings suggesting X` and `No evidence of X`; maps of the former."""
        pooled, local, grid = self.project_images(self.prepare(images))
        positive, negative = self.prompt_vectors(queries)
        pooled = F.normalize(pooled, dim=-1)
        scores = self.presence(pooled @ positive.T, pooled @ negative.T)
        return ZeroShot(scores, self._on_film(smoothed_cosines(local, positive, grid)))

    def phrase_maps(self, images: Tensor, phrases: Sequence[str]) -> Tensor:
        """Smoothed cosine of each place with the phrase, from 0 (opposite, or not seen) to 1 (same)."""
        _, local, grid = self.project_images(self.prepare(images))
        vectors = self.embed_texts(phrases)[:, None]
        return self._on_film(smoothed_cosines(local, vectors, grid))[:, 0]

    def film_map(self, film: np.ndarray, prompt: str) -> Tensor:
        """(rows, columns) of the film: its smoothed cosines with a prompt, bilinear; NaN where the network is blind."""
        _, local, grid = self.project_images(self.films([film]))
        cosines = smoothed_cosines(local, self.embed_texts([prompt]), grid)
        return lay_on_film(cosines[0, 0], (film.shape[0], film.shape[1]), RESIZED, self.cropped)

    def _on_film(self, cosines: Tensor) -> Tensor:
        """Values 0..1 on a grid over the whole square film."""
        return on_whole((1 + cosines) / 2, self.cropped, RESIZED)


def stretch(film: np.ndarray, percentiles: tuple[float, float] = (0, 100)) -> np.ndarray:
    """Grey levels of a film from its lowest to its highest onto 0..255, cut to whole numbers, as the authors' code.

    Those outside `percentiles` become the nearest inside. A film of one level is black; the authors divide by zero.
    """
    lowest, highest = np.percentile(film, percentiles)
    levels = film.astype(float).clip(lowest, highest) - lowest
    return (levels / max(levels.max(), 1) * 255).astype(np.uint8)


def recognises(content: Content) -> bool:
    """Whether the names are of BioViL's image model: an encoder and a projector, and nothing of a previous film."""
    return _is_image_model(content) and not is_temporal(content)


def is_temporal(content: Content) -> bool:
    """Whether there are weights that compare with a previous film, as BioViL-T has them."""
    return _is_image_model(content) and any(str(name).startswith(TEMPORAL) for name in content)


def _is_image_model(content: Content) -> bool:
    return all(any(str(name).startswith(prefix) for name in content) for prefix in (BACKBONE, HEAD))


def convert(content: Content, texts: Path | None) -> Converted:
    """The file, and the text encoder with its weights, which are a folder of their own, in `texts`.

    Names of other parts than the residual network and the projector stay as they are.
    """
    found = tensors_of(content)
    backbone = {
        name: tensor for name, tensor in under(found, BACKBONE).items() if not name.startswith(CLASSIFIER)
    }  # fmt: skip
    settings, state = read_texts(texts)
    settings |= {
        "backbone": describe_resnet(backbone),
        "patch_width": size(found, f"{HEAD}0.weight", 1),
        "hidden": size(found, f"{HEAD}0.weight"),
        "dim": size(found, f"{HEAD}3.weight"),
    }
    state |= {f"backbone.{name}": tensor for name, tensor in backbone.items()}
    state |= {f"projector.{name}": tensor for name, tensor in under(found, HEAD).items()}
    state |= {name: tensor for name, tensor in found.items() if not name.startswith((BACKBONE, HEAD))}
    return Converted(settings, state)


def read_texts(texts: Path | None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and weights of the text tower, from the folder of CXR-BERT."""
    folder = expect_folder(texts, WHICH)
    file = next((folder / name for name in TEXT_WEIGHTS if (folder / name).is_file()), None)
    if file is None:
        raise ModelError(f"the folder of the text encoder, {folder}, lacks its weights, {' or '.join(TEXT_WEIGHTS)}")
    found = {
        name: tensor for name, tensor in tensors_of(read_content(file)).items() if not name.startswith(LANGUAGE_HEAD)
    }
    tower, head = without_buffers(under(found, "bert.")), under(found, "cls_projection_head.")
    settings = {
        "texts": str(folder),
        "bert": describe_bert(tower, folder),
        "text_hidden": size(head, "dense_to_hidden.weight"),
    }
    state = {f"text.bert.{name}": tensor for name, tensor in tower.items()}
    state |= {f"text_projection.{name}": tensor for name, tensor in head.items()}
    others = {name: tensor for name, tensor in found.items() if not name.startswith(("bert.", "cls_projection_head."))}
    return settings, state | others


def build(settings: Mapping[str, Any]) -> ReleasedBiovil:
    """The network of a checkpoint's settings."""
    return ReleasedBiovil(settings)
