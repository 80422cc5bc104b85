"""The contrastive loss of TransFG on class tokens (He et al., arXiv 2103.07976, equation 9).

It is not part of LRCLR, which has no class labels; it is what region selection was trained with where labels exist.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.losses.precision import at_least_float32

MARGIN = 0.4  # TransFG, section 3.2


def part_contrast(features: Tensor, labels: Tensor, margin: float = MARGIN) -> Tensor:
    """Scalar loss of `features` (batch, dim) with class `labels` (batch,).

    Over all pairs, each sample with itself included: 1 - cosine where the labels agree, the cosine's excess over
    `margin` where they differ, divided by batch^2. 0 for an empty batch.
    """
    with torch.autocast(features.device.type, enabled=False):
        features = F.normalize(at_least_float32(features), dim=-1)
        cosines = features @ features.T
    same = labels[:, None] == labels
    terms = torch.where(same, 1 - cosines, F.relu(cosines - margin))
    return terms.sum() / max(1, len(features)) ** 2
