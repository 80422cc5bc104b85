"""NT-Xent of SimCLR (Chen et al., arXiv 2002.05709, equation 1): views of an image among those of all images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.losses.precision import at_least_float32


def nt_xent(views: Tensor, temperature: float, normalise: bool = True, sum_views: bool = False) -> Tensor:
    """The loss (a scalar) of `views` (views, images, dim): for each view, the mean over the images; then their mean.

    `sum_views` adds the means up instead, as google-research/simclr does: twice the equation. With more than two views
    the first other one is the match and the rest are negatives, as in sthalles/SimCLR. 0 for an empty batch.
    """
    logits, match = view_logits(views, temperature, normalise)
    if not len(logits):
        return logits.sum()
    mean = F.cross_entropy(logits, match)
    return len(views) * mean if sum_views else mean


def view_logits(views: Tensor, temperature: float, normalise: bool = True) -> tuple[Tensor, Tensor]:
    """(views * images, views * images) cosines over temperature, -inf on the diagonal, and each row's match.

    Rows and columns are the images of the first view, then those of the second, and so on.
    """
    count, images, _ = views.shape
    with torch.autocast(views.device.type, enabled=False):
        rows = at_least_float32(views).flatten(0, 1)
        rows = F.normalize(rows, dim=-1) if normalise else rows
        logits = rows @ rows.T / temperature
    itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    image = torch.arange(images, device=rows.device)
    match = torch.cat([image + images, image.repeat(count - 1)])
    return logits.masked_fill(itself, -torch.inf), match
