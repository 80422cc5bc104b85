"""Maps of the patches of an image: how similar they are to vectors, smoothed, and where they lie on a film.

As in the code of BioViL (hi-ml): a Gaussian filter on the patches, mirrored at the border and cut at four deviations.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

SIGMA = 1.5  # patches


def smoothed_cosines(
    local: Tensor, vectors: Tensor, grid: tuple[int, int], sigma: float = SIGMA, normalise: bool = True
) -> Tensor:
    """(batch, vectors, rows, columns): cosines of places (batch, places, dim) with unit vectors (vectors, dim), or
    (batch, vectors, dim) where every image has its own, after a Gaussian filter of `sigma` patches.

    Without `normalise` the places are unit vectors already.
    """
    places = F.normalize(local, dim=-1) if normalise else local
    return smooth((places @ vectors.mT).mT.unflatten(-1, grid), sigma)


def smooth(maps: Tensor, sigma: float) -> Tensor:
    """Maps (..., rows, columns) after the filter; with `sigma` 0 as they are."""
    if not sigma:
        return maps
    rows, columns = (_filter(side, sigma).to(maps) for side in maps.shape[-2:])
    return rows @ maps @ columns.mT


def lay_on_film(
    maps: Tensor, film: tuple[int, int], resized: int = 0, cropped: int = 0, interpolation: str = "bilinear"
) -> Tensor:
    """(..., rows, columns) of a film of so many pixels, from maps (..., rows, columns) of what a network sees of it.

    The network sees the middle square of `cropped` pixels of the film whose shorter side is `resized` to so many (0:
    it is not), or without `cropped` the whole film. What it does not see is NaN. A margin that cannot be halved has
    its larger part below and to the right. `interpolation` is `nearest`, the default of the authors' code, or
    `bilinear`.
    """
    if not cropped:
        return _resize(maps, film, interpolation)
    side = int(cropped * min(film) / resized) if resized else cropped
    inside = _resize(maps, (side, side), interpolation)
    (above, below), (left, right) = (((length - side) // 2, (length - side + 1) // 2) for length in film)
    return F.pad(inside, (left, right, above, below), value=float("nan"))


def _resize(maps: Tensor, shape: tuple[int, int], interpolation: str) -> Tensor:
    corners = False if interpolation == "bilinear" else None
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    return F.interpolate(flat, size=shape, mode=interpolation, align_corners=corners).reshape(*maps.shape[:-2], *shape)


def _filter(side: int, sigma: float) -> Tensor:
    """(side, side): the Gaussian filter of one axis as a matrix."""
    return torch.from_numpy(gaussian_filter1d(np.eye(side), sigma, axis=0))
