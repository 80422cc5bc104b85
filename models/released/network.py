"""The networks of others, for evaluation: they read films and texts as their authors' code does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from models.method import Method


class ReleasedNetwork(Method):
    """A released network with the preparation of films that its authors published; it cannot be trained here.

    `query_kind` and the methods that a network lacks are those of `Method`.
    """

    def film(self, film: np.ndarray) -> Tensor:
        """(channels, rows, columns): the network's input, of a grey film (rows, columns) uint8 of any shape."""
        raise NotImplementedError

    def films(self, films: Sequence[np.ndarray]) -> Tensor:
        """(films, channels, rows, columns) on the network's device."""
        return torch.stack([self.film(film) for film in films]).to(self.device)

    def whole_film(self, film: np.ndarray) -> Tensor:
        """(channels, rows, columns): as `film`, but all of it where `film` leaves a margin out; for `image_maps`."""
        return self.film(film)

    def prepare(self, images: Tensor) -> Tensor:
        """Grey levels 0..255 (batch, 1, side, side) -> the network's input, each image taken for a film."""
        return self.films(_grey_levels(images))

    def prepare_whole(self, images: Tensor) -> Tensor:
        """As `prepare`, by `whole_film`."""
        return torch.stack([self.whole_film(film) for film in _grey_levels(images)]).to(self.device)


def _grey_levels(images: Tensor) -> list[np.ndarray]:
    """Images (batch, 1, side, side) as films (side, side) uint8."""
    return list(images.detach().round().clamp(0, 255).to(torch.uint8).cpu().numpy()[:, 0])
