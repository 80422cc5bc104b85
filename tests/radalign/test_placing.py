"""Where maps lie over films of any shape, for networks that were trained here and for released ones."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from imaging.letterbox import letterbox
from models.released.network import ReleasedNetwork
from models.released.parts import films
from models.saved import ModelCard
from radalign.placing import Extent, cut_margin, find_part, lay_over, place_map
from tests.models.tiny import TINY, tiny_method

SHAPES = [(1024, 853), (700, 1024), (512, 512), (301, 200)]
CARD = ModelCard("convirt", TINY["convirt"], [], 32, released="convirt")
CARD_OF_WHOLE = ModelCard("convirt", TINY["convirt"], [], 32, shard_size=48)
MEAN = (0.4,)


class Prepared(ReleasedNetwork):
    """A network with a preparation of films and nothing else."""

    def __init__(self, prepare):
        super().__init__()
        self._prepare = prepare

    def film(self, film):
        return films.normalise(self._prepare(film), MEAN, MEAN)


def stretch(film):
    return np.rint((film - film.min()) / np.ptp(film) * 255.0).astype(np.uint8)


PREPARATIONS = {  # what the code of others does, and what its map covers: all of the film, its square, or its middle
    "squashed": (lambda film: films.squash(film, 224), "film"),
    "padded": (lambda film: films.pad_square(film, 256), "square"),
    "pasted": (lambda film: films.paste_square(film, 320), "square"),
    "padded and cut": (lambda film: films.centre(films.pad_square(film, 256), 224), "square"),
    "shorter side and cut": (lambda film: films.centre(films.shorter_side(stretch(film), 512), 480), "middle"),
}


def expected(shape, kind):
    height, width = shape
    side = {"square": max(shape), "middle": min(shape)}.get(kind)
    if side is None:
        return Extent()
    return Extent((width - side) / 2 / width, (height - side) / 2 / height, side / width, side / height)


def numbers(extent):
    return [extent.left, extent.top, extent.width, extent.height]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", PREPARATIONS)
def test_maps_of_released_networks_are_placed_by_what_they_do_to_a_film(kind, shape):
    prepare, covered = PREPARATIONS[kind]
    found = place_map(Prepared(prepare), CARD, shape)
    assert numbers(found) == pytest.approx(numbers(expected(shape, covered)), abs=0.006)


@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("fit", ["resize", "crop"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_spot_of_a_film_is_where_its_map_is_placed(shape, fit, squash):
    """The network's own input, laid over the film as its maps are, shows the spot where the film has it."""
    network = tiny_method("convirt")
    network.fit = fit
    card = ModelCard("convirt", TINY["convirt"], [], network.size, fit, shard_size=48, decoding={"squash": squash})
    height, width = shape
    film = np.zeros(shape, np.uint8)
    spot = int(0.55 * height), int(0.45 * width)
    cv2.circle(film, spot[::-1], min(shape) // 8, 255, -1)
    square = torch.from_numpy(letterbox(film, 48, squash))[None, None]
    seen = network.fitted(square)[0, 0].float().numpy()
    weights = seen / seen.sum()
    down, across = ((np.arange(side) + 0.5) / side for side in seen.shape)
    centre = (weights.sum(1) @ down, weights.sum(0) @ across)
    extent = place_map(network, card, shape)
    found = (extent.top + centre[0] * extent.height, extent.left + centre[1] * extent.width)
    assert found == pytest.approx((spot[0] / height, spot[1] / width), abs=0.02)


def test_a_map_lies_inside_the_borders_that_were_cut_off():
    network = tiny_method("convirt")
    card = ModelCard("convirt", TINY["convirt"], [], network.size, shard_size=48, decoding={"crop_borders": True})
    film = np.zeros((400, 300), np.uint8)
    film[100:300, 60:160] = np.random.default_rng(0).integers(0, 255, (200, 100))
    found = place_map(network, card, film.shape, find_part(film))
    assert numbers(found) == pytest.approx([(60 - 50) / 300, 100 / 400, 200 / 300, 200 / 400])
    assert numbers(place_map(network, CARD_OF_WHOLE, film.shape, find_part(film))) == pytest.approx(
        numbers(Extent(-50 / 300, 0, 400 / 300, 1))
    )


def test_a_margin_that_the_network_did_not_see_is_cut_off():
    located = np.zeros((8, 10))
    located[1:7, 2:9] = np.random.default_rng(0).random((6, 7)) + 0.5
    kept, extent = cut_margin(located, Extent(0.1, 0, 0.8, 1))
    assert (kept == located[1:7, 2:9]).all()
    assert numbers(extent) == pytest.approx([0.1 + 2 * 0.08, 1 / 8, 7 * 0.08, 6 / 8])
    nothing, whole = cut_margin(np.zeros((3, 3)), Extent())
    assert (nothing.shape, whole) == ((3, 3), Extent())


def test_a_map_is_laid_over_the_part_that_it_covers():
    located = np.arange(4, dtype=np.float32).reshape(2, 2)
    over = lay_over(located, Extent(0.25, -0.5, 0.5, 2.0), (40, 80))
    assert np.isnan(over[:, :20]).all()
    assert np.isnan(over[:, 60:]).all()
    seen = over[:, 20:60]
    assert np.isfinite(seen).all()
    # The film shows the middle half of the map's height: rows from a quarter to three quarters of it.
    assert seen[20, 0] == pytest.approx(1.0, abs=0.06)
    assert seen[0, 10] == pytest.approx(0.0, abs=0.06)
    assert seen[0, 30] == pytest.approx(1.0, abs=0.06)
    assert seen[39, 10] == pytest.approx(2.0, abs=0.06)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_brightest_place_of_a_map_lies_where_the_network_saw_it(shape):
    """Of a network that was trained here: the letterboxed square and its map have the same proportions."""
    height, width = shape
    film = np.zeros(shape, np.uint8)
    film[height // 4 : height // 4 + 20, width // 3 : width // 3 + 20] = 255
    square = letterbox(film, 48).astype(np.float32)
    method = tiny_method("convirt")
    over = lay_over(*cut_margin(square, place_map(method, CARD_OF_WHOLE, shape)), shape)
    row, column = np.unravel_index(np.nanargmax(over), shape)
    cell = max(shape) / 48
    assert abs(row - height // 4 - 10) < 1.5 * cell
    assert abs(column - width // 3 - 10) < 1.5 * cell
