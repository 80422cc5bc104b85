"""Section matching: which impression belongs to which findings (Boecking et al., BioViL, ECCV 2022, as recalled)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.losses.info_nce import pair_logits


def section_matching(first: Tensor, second: Tensor, both: Tensor, temperature: float) -> Tensor:
    """Scalar loss of one section of each report against the other, the sum of the two directions.

    `first` and `second` (reports, dim) are sections of the same reports, and cosines are divided by `temperature`.
    Reports count, as pairs and as negatives, where `both` (reports,) is True; 0 if there is none.
    """
    logits = pair_logits(first, second, temperature)
    nothing = torch.finfo(logits.dtype).min
    pairs = torch.arange(len(both), device=both.device)
    forth, back = (
        F.cross_entropy(scores.masked_fill(~both[None], nothing), pairs, reduction="none")
        for scores in (logits, logits.T)
    )
    return torch.where(both, forth + back, 0).sum() / both.sum().clamp_min(1)
