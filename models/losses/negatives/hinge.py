"""Hinge loss between images and texts with the hardest negatives of the batch.

VSE++ (Faghri et al., arXiv 1707.05612, equations 5 and 6) and DSVE (Engilberge et al., CVPR 2018, equation 4).
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.losses.precision import at_least_float32


def hinge(
    scores: Tensor, margin: float, hardest: int = 1, excluded: Tensor | None = None, negated_diagonal: bool = False
) -> Tensor:
    """Sum over the pairs of the hinges [margin - own score + other score]_+ in both directions (a scalar).

    `scores` (batch, batch) are of images (rows) with texts (columns), whose diagonal are the pairs. Of each row and
    column the `hardest` so many others count, 0 for all. `excluded` (batch, batch) bool are no negatives.
    `negated_diagonal`: a pair is no negative of its own but its score, negated, stands among them, as in DSVE's code.
    """
    scores = at_least_float32(scores)
    own = scores.diagonal()
    itself = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    others = scores.masked_fill(itself if excluded is None else excluded | itself, -torch.inf)
    if negated_diagonal:
        others = torch.where(itself, -scores, others)
    total = scores.new_zeros(())
    for rows in (others, others.T):
        chosen = rows.topk(min(hardest, len(rows)), dim=1).values if hardest else rows
        total = total + (margin - own[:, None] + chosen).relu().sum()
    return total
