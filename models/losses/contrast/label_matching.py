"""MedCLIP's semantic matching loss: any image and any text match as far as their labels do.

Wang et al., EMNLP 2022, arXiv 2210.10163. The targets are softmaxes of the similarity of label vectors,
over the texts for an image and over the images for a text. The paper compares labels by their cosine, the released code
by their inner product.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.errors import ModelError
from models.losses.contrast.soft_cross_entropy import soft_cross_entropy
from models.losses.precision import at_least_float32

SIMILARITIES = ("cosine", "dot")


def label_similarity(images: Tensor, texts: Tensor, kind: str = "cosine") -> Tensor:
    """(images, texts) similarity of label vectors (images, labels) and (texts, labels); a cosine with none is 0."""
    if kind not in SIMILARITIES:
        raise ModelError(f"labels are compared by `cosine` or `dot`, not by `{kind}`")
    with torch.autocast(images.device.type, enabled=False):
        images, texts = at_least_float32(images), at_least_float32(texts)
        if kind == "cosine":
            images, texts = F.normalize(images, dim=-1), F.normalize(texts, dim=-1)
        return images @ texts.T


def soft_targets(similarity: Tensor, known: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Targets of the images over the texts, rows summing to 1, and of the texts over the images, columns summing to 1.

    `similarity` (batch, batch) of the labels is divided by `temperature`. Where `known` (batch,) is False, the labels
    of a pair say nothing: its image and its text have each other for target, and are no target of others.
    """
    compared = known[:, None] & known
    own = torch.eye(len(known), dtype=torch.bool, device=known.device)
    logits = torch.where(compared, similarity / temperature, torch.where(own, 0.0, -torch.inf))
    return logits.softmax(1), logits.softmax(0)


def soft_matching(logits: Tensor, image_targets: Tensor, text_targets: Tensor) -> Tensor:
    """Mean of the cross-entropies of `logits` (images, texts) along the rows and along the columns, with such targets.

    0 for an empty batch.
    """
    by_image, by_text = soft_cross_entropy(logits, image_targets), soft_cross_entropy(logits.T, text_targets.T)
    return (by_image.sum() / max(1, len(by_image)) + by_text.sum() / max(1, len(by_text))) / 2
