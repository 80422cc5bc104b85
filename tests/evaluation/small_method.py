"""A method of two convolutions for tests of tasks that train, and images with squares that it can learn to see."""

import numpy as np
import torch
from torch import nn

from evaluation.dataset import Images
from models.method import Method

SIZE = 16
MARK = slice(4, 12)  # rows and columns of the bright square


class SmallMethod(Method):
    """Two strided convolutions with batch norm, and dropout, so that modes and random numbers matter."""

    size = SIZE

    def __init__(self, single=False):
        super().__init__()
        self.single = single
        self.first, self.second = _stage(1, 8), _stage(8, 16)
        self.dropout = nn.Dropout(0.1)

    def image_maps(self, images):
        fine = self.first(self.prepare(images))
        coarse = self.second(fine)
        return [coarse] if self.single else [fine, coarse]

    def image_features(self, images):
        return self.dropout(self.image_maps(images)[-1].mean((2, 3)))


def _stage(before, after):
    return nn.Sequential(nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU())


def small_method(single=False):
    """The same random weights every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SmallMethod(single)


def images(count, seed, size=SIZE):
    """Noise, and where the square is bright: (count, size, size) uint8 and bool (count,)."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(60, 140, (count, size, size)).astype(np.uint8)
    bright = np.arange(count) % 2 == 1
    pixels[bright, MARK, MARK] += 60
    return pixels, bright


def join_images(*parts):
    """The images of several splits as one."""
    return Images.of_array(
        np.concatenate([part.pixels[:] for part in parts]), np.concatenate([part.subjects for part in parts])
    )


def state_of(module):
    """A copy of its weights and statistics, and its mode."""
    return module.training, {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_same_state(module, state):
    """It is as it was."""
    training, tensors = state
    assert module.training == training
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, tensors[name], rtol=0, atol=0, msg=name)
