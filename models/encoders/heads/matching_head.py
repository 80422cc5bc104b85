"""Whether an image and a text belong together, from the two side by side."""

from __future__ import annotations

import torch
from torch import Tensor, nn

BLOCK = 16_384  # pairs that pass at once


class MatchingHead(nn.Module):
    """A logit from [v; t], with `product` from [v; t; v * t], through a hidden layer: without one [v; t] could not
    express that two vectors agree."""

    def __init__(self, width: int, hidden: int, product: bool = False) -> None:
        super().__init__()
        self.product = product
        self.layers = nn.Sequential(nn.Linear((3 if product else 2) * width, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        """(..., width) of images and of texts, pair by pair -> logits (...)."""
        parts = [images, texts, images * texts] if self.product else [images, texts]
        logits: Tensor = self.layers(torch.cat(parts, dim=-1))
        return logits[..., 0]

    def every_pair(self, images: Tensor, texts: Tensor) -> Tensor:
        """(images, width), (texts, width) -> logits (images, texts), in blocks that fit into the memory."""
        blocks = images.split(max(1, BLOCK // max(1, len(texts))))
        return torch.cat([self(*torch.broadcast_tensors(block[:, None], texts[None])) for block in blocks])
