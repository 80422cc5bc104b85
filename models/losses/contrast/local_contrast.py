"""LoVT's local contrast, within a pair of image and report (Mueller et al., ECCV 2022, arXiv 2112.02889).

A region should be like what the region itself, and its neighbours, gathered from the report; a sentence should be like
what it gathered from the image, and unlike what the other sentences of its report gathered.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from models.losses.precision import at_least_float32


def near_positions(grid: tuple[int, int], threshold: float, relative: bool = True, decay: float | None = 1.0) -> Tensor:
    """(positions, positions) how much each place of a grid is a positive of another; float64.

    exp(-`decay` * distance) up to a distance of `threshold`, 1 where `decay` is None, and 0 beyond. Distances are
    Euclidean, in cells or, if `relative`, as shares of the grid's diagonal.
    """
    rows, columns = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in grid), indexing="ij")
    places = torch.stack([rows.flatten(), columns.flatten()], 1)
    distances = torch.cdist(places, places) / (math.hypot(*grid) if relative else 1)
    near = torch.ones_like(distances) if decay is None else (-decay * distances).exp()
    return torch.where(distances <= threshold, near, 0)


def local_contrast(
    places: Tensor, attended: Tensor, positives: Tensor, weights: Tensor, mask: Tensor, temperature: float,
    same_modality: bool = False, offset: int = 0,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Losses (batch,) of places against attended vectors, and of attended vectors against places.

    `places` and `attended` (batch, places, dim) are compared by their cosines over `temperature`, within each sample.
    `positives` (places, places), of which rows are normalised over what exists, are the targets. `weights` (batch,
    places) of the places are normalised too, over those where `mask` (batch, places) is True; others take no part. A
    sample without any place contributes 0.

    `same_modality` adds the vectors of the same side, except positives, as negatives. `offset`, an option of the
    authors' code, is the largest number of places: of each loss log(existing / (2 * offset)) is subtracted, once per
    place, padding included.
    """
    with torch.autocast(places.device.type, enabled=False):
        places, attended = (F.normalize(at_least_float32(side), dim=-1) for side in (places, attended))
        cosines = places @ attended.mT / temperature
        own = (
            (places @ places.mT / temperature, attended @ attended.mT / temperature) if same_modality else (None, None)
        )
    positives = positives.to(cosines)
    targets = positives * mask[:, None]
    targets = targets / targets.sum(2, keepdim=True).clamp_min(torch.finfo(targets.dtype).tiny)
    weights = at_least_float32(weights).detach() * mask
    weights = weights / weights.sum(1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    losses = [
        (weights * _cross_entropy(logits, others, targets, mask, positives > 0)).sum(1)
        for logits, others in zip((cosines, cosines.mT), own, strict=True)
    ]
    if offset:
        shift = (
            mask.shape[1] * (mask.sum(1).to(weights) / (2 * offset)).clamp_min(torch.finfo(weights.dtype).tiny).log()
        )
        losses = [loss - shift for loss in losses]
    return losses[0], losses[1]


def _cross_entropy(logits: Tensor, others: Tensor | None, targets: Tensor, mask: Tensor, same: Tensor) -> Tensor:
    """(batch, places): 0 where there is none. `others` are further negatives, except where `same` (places, places)."""
    nothing = torch.finfo(logits.dtype).min  # and not -inf, which would give NaN where there is no place at all
    candidates = logits.masked_fill(~mask[:, None], nothing)
    if others is not None:
        candidates = torch.cat([candidates, others.masked_fill(~mask[:, None] | same, nothing)], 2)
    return torch.where(mask, candidates.logsumexp(2) - (targets * logits).sum(2), 0)
