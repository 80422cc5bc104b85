"""LRCLR's local loss (equation 5): of all texts, the image's own fits best what region and text tokens made together.

As printed, only matched pairs pass the cross-modality transformer: v_l^i has read text i, and t_l^k has seen image k.
An image vector that repeats its own text is then enough to find it, so the loss falls without any look at the images
(a test shows it). With `all_pairs`, image i is compared with text k by what the two made of each other.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from models.errors import ModelError
from models.losses.info_nce import matched_pairs, pair_logits
from models.losses.precision import at_least_float32

Cross = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def local_alignment(scores: Tensor, reduction: str = "sum") -> Tensor:
    """Scalar loss of `scores` (images, texts): -log softmax over the texts at the image's own, over the images.

    Equation 5 sums over the batch and knows no other direction and no temperature (its t_k^k is read as t_l^k);
    `mean` keeps the loss's size when the batch grows.
    """
    if reduction not in ("sum", "mean"):
        raise ModelError(f"the local loss is the `sum` or the `mean` over the batch, not `{reduction}`")
    loss = matched_pairs(scores, image_weight=1.0, text_weight=0.0)
    return loss * len(scores) if reduction == "sum" else loss


def matched_scores(images: Tensor, texts: Tensor, cosine: bool = False) -> Tensor:
    """The printed form: v_l^i . t_l^k of vectors (batch, dim) from matched pairs, (batch, batch)."""
    return pair_logits(images, texts, temperature=1.0, normalise=cosine)


def all_pairs_scores(cross: Cross, batch: int, chunk: int, device: torch.device, cosine: bool = False) -> Tensor:
    """v_l^ik . t_l^ik of every image i with every text k, (batch, batch).

    `cross` takes the indices (pairs,) of images and of texts and returns v_l and t_l, (pairs, dim) each. Only `chunk`
    pairs are in memory at once: their activations are computed again in the backward pass.
    """
    pairs = torch.cartesian_prod(torch.arange(batch, device=device), torch.arange(batch, device=device))
    scores = [
        checkpoint(_scores, cross, part[:, 0], part[:, 1], cosine, use_reentrant=False) for part in pairs.split(chunk)
    ]
    return torch.cat(scores).view(batch, batch)


def _scores(cross: Cross, images: Tensor, texts: Tensor, cosine: bool) -> Tensor:
    seen, read = (at_least_float32(vectors) for vectors in cross(images, texts))
    if cosine:
        seen, read = F.normalize(seen, dim=-1), F.normalize(read, dim=-1)
    return (seen * read).sum(-1)
