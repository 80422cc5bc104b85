"""SimCLR on tiny networks: what is contrasted, and what its options change."""

import pytest
import torch

from models.losses.negatives.nt_xent import nt_xent
from models.method import Batch
from tests.models.tiny import tiny_batch, tiny_method


def test_the_loss_is_that_of_both_views():
    method = tiny_method("simclr").eval()
    batch = tiny_batch(method, 4)
    views = [method.head(method.image_features(images)) for images in (batch.images, batch.views)]
    expected = nt_xent(torch.stack(views), 0.1)
    torch.testing.assert_close(method.losses(batch)["contrast"], expected)


def test_both_views_pass_the_batch_norm_together():
    method = tiny_method("simclr").train()
    method.encode(tiny_batch(method, 4))
    norm = next(module for module in method.modules() if isinstance(module, torch.nn.BatchNorm2d))
    assert norm.num_batches_tracked.item() == 1


def test_which_view_is_the_first_makes_no_difference():
    method = tiny_method("simclr").eval()
    batch = tiny_batch(method, 4)
    turned = method.losses(Batch(batch.views, views=batch.images))
    torch.testing.assert_close(method.losses(batch)["contrast"], turned["contrast"])


@pytest.mark.parametrize(
    "options", [{"temperature": 0.5}, {"normalise": False}, {"head": "google"}, {"head": "linear"}]
)
def test_options_change_the_loss(options):
    plain, changed = (tiny_method("simclr", **given) for given in ({}, options))
    batch = tiny_batch(plain, 4)
    assert plain.losses(batch)["contrast"].item() != pytest.approx(changed.losses(batch)["contrast"].item(), rel=1e-3)


def test_the_sum_over_views_is_twice_the_mean():
    plain, summed = (tiny_method("simclr", sum_views=given).eval() for given in (False, True))
    batch = tiny_batch(plain, 4)
    torch.testing.assert_close(summed.losses(batch)["contrast"], 2 * plain.losses(batch)["contrast"])


def test_features_are_those_before_the_projection():
    method = tiny_method("simclr").eval()
    images = tiny_batch(method, 5).images
    with torch.no_grad():
        features = method.image_features(images)
        alone = torch.cat([method.image_features(image[None]) for image in images])
        (*_, last) = method.image_maps(images)
    assert features.shape == (5, method.image_encoder.dim)
    torch.testing.assert_close(features, alone)
    torch.testing.assert_close(last.mean((2, 3)), features)
    for ask in (lambda: method.zero_shot(images, ["effusion"]), lambda: method.similarity(images, ["effusion"])):
        with pytest.raises(NotImplementedError, match="simclr has no"):
            ask()
