"""The loss on the validation split."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from imaging.augment import Augmentation, AugmentationConfig
from models.method import Method
from shards.reader import ShardReader
from tests.training.conftest import shard_rows, write_shards
from training.config import TrainingConfig
from training.data.pairs import PairData
from training.validation import validation_terms


class Seen(nn.Module):
    """In the place of an objective: keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.batches = nn.Parameter(torch.ones(())), []

    def forward(self, batch, seed, pairs):
        self.batches.append(batch)
        return {"contrast": batch.images.float().mean()}


@pytest.fixture
def validate(shards, tmp_path):
    """Validation of images alone, which are seen once or twice; returns the batches and the terms."""

    def run(two_views: bool, batch_size: int = 4, folder: Path = shards):
        method, seen = Method(), Seen()
        method.two_views = two_views
        data = PairData(ShardReader(folder), "test", method, AugmentationConfig(), tmp_path / "unused")
        config = replace(TrainingConfig.from_dict({"method": "simclr"}, "test"), batch_size=batch_size)
        augmentation = Augmentation(AugmentationConfig(crop_scale=0.3, brightness=0.5), 24)
        return seen.batches, validation_terms(seen, data, config, augmentation, bf16=False)

    return run


def test_two_views_of_an_image_differ_and_are_the_same_every_epoch(validate):
    first, terms = validate(two_views=True)
    torch.manual_seed(5)
    again, terms_again = validate(two_views=True)
    assert terms == terms_again
    for batch, same in zip(first, again, strict=True):
        assert batch.images.shape == batch.views.shape == (len(batch), 1, 24, 24)
        assert (batch.images - batch.views).abs().flatten(1).mean(1).min() > 1
        assert torch.equal(batch.images, same.images)
        assert torch.equal(batch.views, same.views)


def test_an_image_that_is_seen_once_is_not_changed(validate, shards):
    batches, terms = validate(two_views=False)
    pixels = ShardReader(shards).pixels("test")
    everything = pixels.read(np.arange(len(pixels)), None)
    found = torch.cat([batch.images[:, 0] for batch in batches])
    assert all(batch.views is None for batch in batches)
    assert sorted(map(bytes, found.numpy())) == sorted(map(bytes, everything))
    assert terms["contrast"] == pytest.approx(everything.mean(), rel=1e-5)


def test_no_batch_has_one_pair(validate, tmp_path):
    odd = write_shards(tmp_path / "odd", shard_rows(40))  # five of them test
    batches, _ = validate(two_views=False, batch_size=2, folder=odd)
    assert [len(batch) for batch in batches] == [2, 2]
