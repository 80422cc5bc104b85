"""The head of YOLOv3 on the maps of a frozen encoder, written from its paper (Redmon and Farhadi, arXiv 1804.02767).

With one class there is nothing to tell apart: a box is as sure as there is an object. What differs from the paper:

- The loss of a centre is the cross entropy of its place within the cell, not a squared error of its logit, which is
  infinite on the border of a cell.
- An encoder that has fewer than three maps of a stride of at least 8 has more of the nine anchors on each.
- At first every box is FIRST_SCORE sure, or else the first steps would go by to calm the many that find nothing
  (RetinaNet, arXiv 1708.02002, 4.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms

from evaluation.learning.yolo_priors import Priors, deal_anchors

MAPS = 3
FINEST_STRIDE = 8
VALUES = 5  # of each box: place in the cell (2 logits), scales (2 logs), and whether there is an object (1 logit)
FIRST_SCORE = 0.01
SLOPE = 0.1  # of the leaky ReLU below zero, as in Darknet


def coarse_maps(maps: Sequence[Tensor], side: int) -> list[Tensor]:
    """The maps (batch, channels, rows, columns) of inputs of `side` pixels that a head reads, fine to coarse.

    They are the last three of a stride of at least FINEST_STRIDE; where there is none, the last map.
    """
    coarse = [found for found in maps if round(side / found.shape[-1]) >= FINEST_STRIDE]
    return coarse[-MAPS:] or [maps[-1]]


class YoloHead(nn.Module):
    """Boxes from maps of `channels`, fine to coarse; `width` is that of the coarsest, and is halved with each finer."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        widths = [max(1, width >> step) for step in reversed(range(len(channels)))]
        lifted = [*widths[:-1], 0]  # channels that come up from the next coarser map
        self.laterals = nn.ModuleList(_convolution(coarser, finer, 1) for finer, coarser in pairwise(widths))
        self.blocks = nn.ModuleList(
            _block(given + up, wide) for given, up, wide in zip(channels, lifted, widths, strict=True)
        )
        self.outputs = nn.ModuleList(
            _output(wide, len(anchors)) for wide, anchors in zip(widths, deal_anchors(len(channels)), strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """(batch, priors, VALUES) of the maps (batch, channels, rows, columns), in the order of the priors."""
        found: list[Tensor] = []
        coarser: Tensor | None = None
        for level in reversed(range(len(maps))):
            given = maps[level]
            if coarser is not None:
                up = F.interpolate(self.laterals[level](coarser), given.shape[-2:], mode="nearest")
                given = torch.cat([up, given], 1)
            coarser = self.blocks[level](given)
            found.append(self.outputs[level](coarser).unflatten(1, (-1, VALUES)).permute(0, 1, 3, 4, 2).flatten(1, 3))
        return torch.cat(found[::-1], 1).float()


def loss(outputs: Tensor, priors: Priors, boxes: Tensor, images: Tensor) -> Tensor:
    """YOLOv3's loss of the head's outputs (batch, priors, VALUES): a sum over boxes, a mean over images.

    `boxes` (n, 4) are all true boxes of the batch and `images` (n,) says on which image each lies.
    """
    chosen, ignored = priors.assign(boxes, images, len(outputs))
    places, scales = priors.encode(boxes, chosen)
    own, objects = outputs[images, chosen], torch.zeros_like(outputs[..., 4])
    objects[images, chosen] = 1
    terms = (
        F.binary_cross_entropy_with_logits(own[:, :2], places, reduction="sum"),
        F.mse_loss(own[:, 2:4], scales, reduction="sum") / 2,
        F.binary_cross_entropy_with_logits(outputs[..., 4], objects, (~ignored).to(outputs), reduction="sum"),
    )
    return torch.stack(terms).sum() / len(outputs)


def detect(
    outputs: Tensor, priors: Priors, side: int, confidence: float, overlap: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Images (n,), boxes (n, 4) within the input of `side` pixels and scores (n,) of the outputs, surest first.

    Boxes less sure than `confidence` are left out, and those that overlap a surer one of their image by more than
    `overlap`.
    """
    scores = outputs[..., 4].sigmoid()
    corners = priors.decode(outputs[..., :2].sigmoid(), outputs[..., 2:4]).clamp(0, side)
    images, places = (scores >= confidence).nonzero(as_tuple=True)
    corners, scores = corners[images, places], scores[images, places]
    kept = batched_nms(corners, scores, images, overlap)
    return images[kept], corners[kept], scores[kept]


def _convolution(given: int, channels: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(given, channels, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
        nn.LeakyReLU(SLOPE),
    )


def _block(given: int, width: int) -> nn.Sequential:
    """Five convolutions, narrow and wide in turn, as in Darknet-53's head."""
    return nn.Sequential(
        _convolution(given, width, 1),
        _convolution(width, 2 * width, 3),
        _convolution(2 * width, width, 1),
        _convolution(width, 2 * width, 3),
        _convolution(2 * width, width, 1),
    )


def _output(width: int, anchors: int) -> nn.Sequential:
    last = nn.Conv2d(2 * width, anchors * VALUES, 1)
    bias = torch.zeros(anchors, VALUES)
    bias[:, 4] = math.log(FIRST_SCORE / (1 - FIRST_SCORE))
    last.bias = nn.Parameter(bias.flatten())
    return nn.Sequential(_convolution(width, 2 * width, 3), last)
