"""The network and the losses of segmentation: a decoder on the feature maps of a method's image encoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.base.modules import Conv2dReLU
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.losses import BINARY_MODE, DiceLoss, FocalLoss
from torch import Tensor, nn

from evaluation.learning.resunet import ResUNetDecoder
from models.method import Method

UNET, RESUNET = "unet", "resunet"
FOCAL_WEIGHT = 10.0  # MGCA


class Segmenter(nn.Module):
    """A U-Net's decoder on maps of these `shapes` (channels, rows, columns), or SETR's on a single map."""

    def __init__(self, method: Method, shapes: Sequence[Sequence[int]], width: int, decoder: str = UNET) -> None:
        """`width` is the number of channels at the image's own size; at every halving of its sides it doubles.

        `decoder` is UNET or RESUNET. A single map has SETR's in either case.
        """
        super().__init__()
        self.method = method
        channels = [shape[0] for shape in shapes]
        doublings = math.ceil(math.log2(method.size / shapes[0][1])) if len(shapes) == 1 else len(shapes)
        widths = [width * 2**level for level in reversed(range(doublings))]
        self.reads_image = decoder == RESUNET and len(shapes) > 1
        if self.reads_image:
            blank = torch.zeros(1, 1, method.size, method.size, device=method.device)
            self.decoder: nn.Module = ResUNetDecoder(method.prepare(blank).shape[1], channels, width)
        else:
            self.decoder = _progressive(channels[0], widths) if len(shapes) == 1 else _unet(channels, widths)
        self.head = SegmentationHead(width, 1, kernel_size=1 if self.reads_image else 3)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch, 1, side, side) of grey levels 0..255 of that shape.

        Images of another side than the network's are resized to it: what a crop cuts off could not be found.
        """
        size = (self.method.size, self.method.size)
        fitted = images.float()
        if images.shape[2:] != size:
            fitted = F.interpolate(fitted, size, mode="bilinear", antialias=True)
        with self.method.autocast():
            maps = self.method.image_maps(fitted)
            logits = self.head(self._decode(fitted, maps))
        return F.interpolate(logits.float(), images.shape[2:], mode="bilinear")

    def _decode(self, images: Tensor, maps: list[Tensor]) -> Tensor:
        if self.reads_image:
            decoded: Tensor = self.decoder(self.method.prepare(images), maps)
        else:
            decoded = self.decoder(maps[0]) if len(maps) == 1 else self.decoder([images, *maps])
        return decoded


def segmentation_loss(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss (`mgca` or `medklip`) of logits and masks, both (batch, 1, side, side).

    Dice is that of the batch as one image; where no image has a mask it is left out.
    """
    if name == "medklip":
        dice = DiceLoss(BINARY_MODE)
        return lambda logits, masks: F.binary_cross_entropy_with_logits(logits, masks) + dice(logits, masks)
    focal, log_dice = FocalLoss(BINARY_MODE), DiceLoss(BINARY_MODE, log_loss=True)
    return lambda logits, masks: FOCAL_WEIGHT * focal(logits, masks) + log_dice(logits, masks)


def _unet(channels: Sequence[int], widths: Sequence[int]) -> nn.Module:
    """Reads [images, *maps] and gives a map of the images' size; one block per map."""
    return UnetDecoder([0, *channels], widths, len(widths))


def _progressive(channels: int, widths: Sequence[int]) -> nn.Module:
    """Blocks that double the sides of a map (batch, channels, rows, columns), with so many channels behind each."""
    blocks: list[nn.Module] = []
    for before, after in zip((channels, *widths), widths, strict=False):
        blocks += [Conv2dReLU(before, after, 3, padding=1), nn.Upsample(scale_factor=2, mode="bilinear")]
    return nn.Sequential(*blocks)
