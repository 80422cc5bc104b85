"""What a card says of the preparation of films is what the network does, and what other tools' transforms do."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import timm
import torch
from PIL import Image

from imaging.letterbox import letterbox
from models.registry import released_names
from models.released.opening import find_format
from models.released.parts.films import centre
from radalign.exporting.preparation import RELEASED as DESCRIBED
from radalign.exporting.preparation import describe_preparation, preparing_tensors
from radalign.exporting.targets.timm import describe_input
from tests.models.tiny import SIZE, tiny_method
from tests.radalign.exporting.small import OTHERS, RELEASED, build_seeded

NETWORKS = {name: (name, settings) for name, settings in RELEASED.items()} | OTHERS


def noise(side: int) -> np.ndarray:
    film = np.random.default_rng(2).integers(0, 256, (side, side), np.uint8)
    film[0, :2] = 0, 255  # BioViL stretches what has not all levels
    return film


def test_every_format_is_described():
    assert sorted(DESCRIBED) == released_names() == sorted(RELEASED)


@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_a_square_is_prepared_as_by_the_network(name):
    format_name, settings = NETWORKS[name]
    network = build_seeded(lambda: find_format(format_name).build(settings)).eval()
    preparation = describe_preparation(network, format_name)
    film = noise(preparation.square)
    middle = torch.from_numpy(centre(film, preparation.seen).copy())[None, None]
    theirs = network.films([film])
    if format_name == "chexzero":
        assert preparation.difference  # its films are resized twice: compared in grey levels that are resized already
        theirs = (middle.float() - 101.48761) / 83.43944
    if preparation.is_enlarged:
        assert preparation.side == 299
        theirs = torch.nn.functional.interpolate(theirs, size=(299, 299), mode="bilinear", align_corners=True)
    assert (preparation.pixels(middle) - theirs).abs().max() < 1e-5
    assert (preparation.colours(middle)[:, :1] - theirs[:, :1]).abs().max() < 1e-5
    with preparing_tensors(network, preparation):
        assert network.prepare == preparation.pixels
    assert network.prepare != preparation.pixels
    if not preparation.difference:
        config = timm.data.resolve_data_config(pretrained_cfg=describe_input(preparation), model=None)
        given = timm.data.create_transform(**config)(Image.fromarray(film).convert("RGB"))
        assert (given - preparation.colours(middle)[0]).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("name", "upsampled", "channels"),
    [("gloria", 0, 1), ("gloria", 48, 3), ("mgca", 48, 1), ("medklip", 0, 1), ("convirt", 0, 3)],
)
def test_a_method_is_described_as_it_prepares(name, upsampled, channels):
    options = {"upsampled": upsampled, "image_encoder": "resnet10t"} if upsampled else {}
    network = tiny_method(name, channels=channels, **options)
    preparation = describe_preparation(network, "")
    square = torch.from_numpy(noise(SIZE))[None, None]
    assert (preparation.pixels(square) - network.prepare(square)).abs().max() < 1e-5
    assert (preparation.square, preparation.side) == (SIZE, upsampled or SIZE)
    assert len(preparation.mean) == len(preparation.std) == channels
    assert bool(preparation.difference) == bool(upsampled)
    assert preparation.resize == "longest"


def test_films_of_a_network_that_saw_squashed_ones_are_squashed():
    """By the transform that timm makes of the description, as by our own reading but for the filter."""
    network = tiny_method("convirt", channels=3)
    preparation = describe_preparation(network, "", squash=True)
    film = cv2.GaussianBlur(noise(4 * SIZE)[:, : 3 * SIZE], (0, 0), 8)
    config = timm.data.resolve_data_config(describe_input(preparation), model=None)
    given = timm.data.create_transform(**config)(Image.fromarray(film).convert("RGB"))
    ours = network.prepare(torch.from_numpy(letterbox(film, SIZE, squash=True))[None, None])[0]
    assert given.shape == ours.shape
    assert (given - ours).abs().max() < 0.1
    assert (given - network.prepare(torch.from_numpy(letterbox(film, SIZE))[None, None])[0]).abs().max() > 1
