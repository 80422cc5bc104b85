"""What a network does to a film before it looks at it, in terms that other projects have words for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.method import Method
from models.released.formats import benchx, biovil, gloria, medclip, mgca, prior
from models.released.formats import chexzero as released_chexzero
from models.released.parts.films import IMAGENET_MEAN, IMAGENET_STD
from models.released.parts.pretext import CROP, WHOLE
from models.released.parts.resnet import COLOURS
from radalign.errors import RadalignError

SQUASH, SHORTEST, LONGEST = "squash", "shortest", "longest"  # what is brought to the side of the square
BILINEAR, BICUBIC = "bilinear", "bicubic"
GREATEST = 255  # grey level


@dataclass(frozen=True)
class Preparation:
    """From a film to the network's input.

    The film becomes a square of grey levels 0..255. Its middle is cut out, normalised, and enlarged if `side` says so.
    """

    square: int  # side of the square, pixels
    seen: int  # side of its middle that the network sees
    side: int  # of the network's input; more than `seen` where that is enlarged, corners on corners
    mean: tuple[float, ...]  # of grey levels 0..1, of each channel of the network's input
    std: tuple[float, ...]
    film: str  # how a film becomes the square, in a sentence
    resize: str = SQUASH
    interpolation: str = BILINEAR
    difference: str = (
        ""  # what the resizing of other tools does otherwise, also to a square of this side, in a sentence
    )

    @property
    def is_enlarged(self) -> bool:
        """Whether the middle is enlarged behind its normalisation."""
        return self.side != self.seen

    @property
    def colour_mean(self) -> tuple[float, float, float]:
        """`mean` of the three channels that other tools feed."""
        return _as_colours(self.mean)

    @property
    def colour_std(self) -> tuple[float, float, float]:
        """`std` of the three channels that other tools feed."""
        return _as_colours(self.std)

    def pixels(self, grey: Tensor) -> Tensor:
        """Grey levels 0..255 (batch, 1, seen, seen) -> the network's input (batch, channels, side, side)."""
        shape = (1, -1, 1, 1)
        mean, std = (torch.tensor(values, device=grey.device).view(shape) for values in (self.mean, self.std))
        normal = (grey.float() / GREATEST - mean) / std
        if not self.is_enlarged:
            return normal
        return F.interpolate(normal, size=(self.side, self.side), mode="bilinear", align_corners=True)

    def colours(self, grey: Tensor) -> Tensor:
        """(batch, 3, side, side): `pixels` as another tool gives them, who knows no grey images."""
        return self.pixels(grey).expand(-1, COLOURS, -1, -1)


@contextmanager
def preparing_tensors(network: Method, preparation: Preparation) -> Iterator[Method]:
    """The network, which takes squares that are cut already: floats (batch, 1, seen, seen), and tensors throughout."""
    network.prepare = preparation.pixels  # type: ignore[method-assign,assignment]
    try:
        yield network
    finally:
        del network.prepare


def describe_preparation(network: Any, released: str, squash: bool = False) -> Preparation:
    """How the network prepares films; `released` is the format that it was imported from, or "".

    `squash`: whether the images that it was trained on here were squashed. RadalignError where nobody has described
    what the format does.
    """
    if not released:
        return _own(network, squash)
    if released not in RELEASED:
        raise RadalignError(f"The preparation of films of `{released}` is not described, so it cannot be exported.")
    return RELEASED[released](network)


def _own(network: Any, squash: bool) -> Preparation:
    """Of a network that was trained here."""
    given = network.prepare(torch.zeros(1, 1, network.size, network.size, device=network.device))
    side = given.shape[-1]
    mean, std = network.colours if given.shape[1] == COLOURS else ((network.grey_mean,), (network.grey_std,))
    return Preparation(
        square=network.size,
        seen=network.size,
        side=side,
        mean=tuple(value / GREATEST for value in mean),
        std=tuple(value / GREATEST for value in std),
        film=(
            f"The film is resized to {network.size} x {network.size} pixels, by areas, whatever its proportions are."
            if squash
            else f"The longer side becomes {network.size} pixels, by areas; the film lies in the middle of black."
        ),
        resize=SQUASH if squash else LONGEST,
        difference=_enlarging(side if side != network.size else 0),
    )


def _enlarging(side: int) -> str:
    if not side:
        return ""
    return (
        f"The network enlarges the square to {side} pixels behind the normalisation, corners on corners "
        "(`torch.nn.functional.interpolate` with `align_corners=True`), which no transform of other tools does"
    )


def _as_colours(values: tuple[float, ...]) -> tuple[float, float, float]:
    first, second, third = values * COLOURS if len(values) == 1 else values
    return first, second, third


def _squashed(
    size: int, interpolation: str = BILINEAR, mean: Any = IMAGENET_MEAN, std: Any = IMAGENET_STD
) -> Preparation:
    return Preparation(
        size, size, size, mean, std,
        f"The film is resized to {size} x {size} pixels, whatever its proportions are.",
        interpolation=interpolation,
    )  # fmt: skip


def _middle(square: int, seen: int, mean: Any = IMAGENET_MEAN, std: Any = IMAGENET_STD) -> Preparation:
    return Preparation(
        square, seen, seen, mean, std,
        f"The shorter side becomes {square} pixels, and the middle {seen} x {seen} is cut out.",
        resize=SHORTEST,
    )  # fmt: skip


def _padded(square: int, seen: int, side: int) -> Preparation:
    """GLoRIA's and MGCA's."""
    return Preparation(
        square, seen, side, (0.5,) * COLOURS, (0.5,) * COLOURS,
        f"The longer side becomes {square} pixels, by areas; the film lies in the middle of black, and the middle "
        f"{seen} x {seen} is cut out.",
        resize=LONGEST,
        difference=_enlarging(side if side != seen else 0),
    )  # fmt: skip


def _chexzero(network: Any) -> Preparation:
    whole, side = released_chexzero.FILE, network.resolution
    level, spread = (value / GREATEST for value in (released_chexzero.MEAN, released_chexzero.STD))
    return Preparation(
        side, side, side, (level,) * COLOURS, (spread,) * COLOURS,
        f"The longer side becomes {whole} pixels by Lanczos' filter, the film lies in the middle of black, and the "
        f"square is resized to {side} pixels by a cubic filter.",
        resize=LONGEST,
        interpolation=BICUBIC,
        difference="Other tools resize once, and round the result to whole grey levels" if side != whole else "",
    )  # fmt: skip


def _biovil(network: Any) -> Preparation:
    seen = network.cropped
    return Preparation(
        biovil.RESIZED, seen, seen, (0.0,) * COLOURS, (1.0,) * COLOURS,
        f"Grey levels are stretched from the film's lowest and highest to 0..255, the shorter side becomes "
        f"{biovil.RESIZED} pixels, and the middle {seen} x {seen} is cut out.",
        resize=SHORTEST,
        difference="Other tools do not stretch grey levels: give films that have 0 and 255 in them",
    )  # fmt: skip


def _medclip(network: Any) -> Preparation:
    return Preparation(
        medclip.SIZE, medclip.SIZE, medclip.SIZE, (medclip.MEAN,) * COLOURS, (medclip.STD,) * COLOURS,
        f"The film lies in the middle of a black square of its longer side, and of {medclip.SIZE} pixels or more, "
        f"which is resized to {medclip.SIZE} pixels.",
        resize=LONGEST,
        interpolation=BICUBIC,
    )  # fmt: skip


def _cxr_clip(network: Any) -> Preparation:
    if network.image.kind == "resnet":
        return _middle(network.size, network.size)
    return _middle(network.size, network.size, (0.5,) * COLOURS, (0.5,) * COLOURS)


RELEASED: dict[str, Callable[[Any], Preparation]] = {
    "benchx": lambda _: _middle(benchx.ReleasedBenchx.size, CROP),
    "biovil": _biovil,
    "biovil_t": _biovil,
    "chexzero": _chexzero,
    "convirt": lambda network: _squashed(network.size),
    "cxr_clip": _cxr_clip,
    "gloria": lambda network: _padded(network.size, network.crop, gloria.UPSAMPLED),
    "kad": lambda network: _squashed(network.size, BICUBIC),
    "medclip": _medclip,
    "medklip": lambda network: _squashed(network.size),
    "mgca": lambda network: _padded(mgca.WHOLE, network.crop, network.crop if network.transformer else mgca.UPSAMPLED),
    "moco": lambda _: _middle(WHOLE, CROP),
    "prior": lambda _: _squashed(prior.SIZE, mean=(prior.MEAN,), std=(prior.STD,)),
    "simclr": lambda _: _middle(WHOLE, CROP),
}
