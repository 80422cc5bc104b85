"""MGCA's cross-modal prototype alignment: an image and its report belong to the same disease-level cluster.

Wang et al., NeurIPS 2022, arXiv 2210.06044, section 3.4, equations 6 to 8; equation 8 is printed without its minus.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.losses.precision import at_least_float32
from models.losses.sinkhorn import sinkhorn


def prototype_alignment(
    images: Tensor,
    texts: Tensor,
    prototypes: Tensor,
    temperature: float = 0.2,
    epsilon: float = 0.05,
    iterations: int = 3,
) -> Tensor:
    """Mean over both directions of the cross-entropy of one side's prediction with the other side's Sinkhorn code.

    `images` and `texts` (batch, dim) and `prototypes` (prototypes, dim) are L2-normalised. Similarities are divided by
    `temperature` for the predictions and by `epsilon` for the codes, which get no gradient and are float32, as in the
    released code. 0 for an empty batch.
    """
    with torch.autocast(images.device.type, enabled=False):
        prototypes = at_least_float32(prototypes)
        image_logits, text_logits = at_least_float32(images) @ prototypes.T, at_least_float32(texts) @ prototypes.T
    codes = [sinkhorn(logits, epsilon, iterations).float() for logits in (text_logits, image_logits)]
    terms = [
        -(code * (logits / temperature).log_softmax(1)).sum() / max(len(logits), 1)
        for code, logits in zip(codes, (image_logits, text_logits), strict=True)
    ]
    return (terms[0] + terms[1]) / 2
