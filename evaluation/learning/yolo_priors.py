"""What a YOLOv3 head starts from: boxes of a few sizes in every cell of its maps (Redmon and Farhadi, 1804.02767, 2.1).

All boxes are x1 y1 x2 y2 in pixels of the network's input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torchvision.ops import box_convert, box_iou

# Width and height of YOLOv3's clusters on COCO, for a side of 416 (section 2.3).
ANCHORS = ((10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326))
ANCHOR_SIDE = 416
IGNORED_OVERLAP = 0.5  # section 2.1


@dataclass(frozen=True)
class Priors:
    """The boxes that a head changes: map by map from fine to coarse, anchor by anchor, and row by row within a map."""

    cells: Tensor  # (priors, 2) column and row
    strides: Tensor  # (priors, 2) width and height of a cell
    sizes: Tensor  # (priors, 2) width and height of the box

    @classmethod
    def over(cls, grids: Sequence[tuple[int, int]], side: int) -> Priors:
        """Priors of the maps of (rows, columns), for square inputs of `side` pixels."""
        parts = []
        for (rows, columns), anchors in zip(grids, deal_anchors(len(grids)), strict=True):
            cells = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).flip(1).float()
            strides = torch.tensor([side / columns, side / rows]).expand_as(cells)
            sizes = torch.tensor(anchors) * (side / ANCHOR_SIDE)
            parts.append(
                (
                    cells.repeat(len(anchors), 1),
                    strides.repeat(len(anchors), 1),
                    sizes.repeat_interleave(len(cells), 0),
                )
            )
        return cls(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))

    def __len__(self) -> int:
        return len(self.cells)

    def to(self, device: torch.device) -> Priors:
        """The same priors on another device."""
        return Priors(*(getattr(self, field.name).to(device) for field in fields(self)))

    def encode(self, boxes: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """What makes the priors `chosen` (n,) the `boxes` (n, 4): (n, 2) places within the cell and logs of scales."""
        centres, sizes = box_convert(boxes, "xyxy", "cxcywh").split(2, -1)
        return centres / self.strides[chosen] - self.cells[chosen], (sizes / self.sizes[chosen]).log()

    def decode(self, places: Tensor, scales: Tensor) -> Tensor:
        """The boxes (..., priors, 4) of places within the cells and logs of scales, both (..., priors, 2)."""
        centres = (self.cells + places) * self.strides
        return box_convert(torch.cat([centres, self.sizes * scales.exp()], -1), "cxcywh", "xyxy")

    def assign(self, boxes: Tensor, images: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Which priors are to find the `boxes` (n, 4) on `images` (n,), and which neither have to find any nor none.

        A box is found by that prior of its centre's cell whose size is the most similar: (n,) indices. Neither is
        expected of the other priors that overlap a box by more than IGNORED_OVERLAP: (count, priors) bool, for `count`
        images.
        """
        centres, sizes = box_convert(boxes, "xyxy", "cxcywh").split(2, -1)
        inside = ((centres[:, None] / self.strides).floor() == self.cells).all(-1)
        common = torch.minimum(sizes[:, None], self.sizes).prod(-1)
        similarity = common / (sizes.prod(-1)[:, None] + self.sizes.prod(-1) - common)
        chosen = torch.where(inside, similarity, -1.0).argmax(1)
        middle = torch.full_like(self.cells, 0.5)
        near = box_iou(boxes, self.decode(middle, torch.zeros_like(middle))) > IGNORED_OVERLAP
        ignored = torch.zeros(count, len(self)).to(boxes).index_add_(0, images, near.to(boxes)) > 0
        ignored[images, chosen] = False
        return chosen, ignored


def deal_anchors(maps: int) -> list[tuple[tuple[int, int], ...]]:
    """The nine anchors dealt to maps from fine to coarse: three each to three, as in YOLOv3, and all of them to one."""
    share = -(-len(ANCHORS) // maps)
    return [ANCHORS[first : first + share] for first in range(0, len(ANCHORS), share)]
