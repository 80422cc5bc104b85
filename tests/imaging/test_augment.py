"""Augmentation is drawn per sample and never mirrors a film unless asked to."""

import pytest
import torch

from imaging.augment import Augmentation, AugmentationConfig

RAMP = torch.linspace(0, 255, 32).to(torch.uint8).repeat(32, 1)[None, None]  # dark on the left, bright on the right


def augmented(config: AugmentationConfig, images: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(0)
    return Augmentation(config, images.shape[-1])(images)


def test_nothing_asked_for_changes_nothing():
    images = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    assert torch.allclose(augmented(AugmentationConfig(crop_scale=1), images), images.float())


@pytest.mark.parametrize(
    "config",
    [
        AugmentationConfig(),
        AugmentationConfig(crop_scale=1, rotation=15),
        AugmentationConfig(crop_scale=1, translation=0.2),
        AugmentationConfig(crop_scale=1, brightness=0.3),
        AugmentationConfig(crop_scale=1, contrast=0.3),
        AugmentationConfig(crop_scale=1, horizontal_flip=0.5),
    ],
    ids=str,
)
def test_every_option_acts_and_samples_differ(config):
    batch = RAMP.repeat(16, 1, 1, 1)
    result = augmented(config, batch)
    assert result.shape == batch.shape
    assert 0 <= float(result.min()) <= float(result.max()) <= 255
    assert not torch.allclose(result, batch.float())
    assert len({tuple(image.flatten().tolist()) for image in result}) > 1


def test_the_default_never_mirrors():
    result = augmented(AugmentationConfig(rotation=10, translation=0.1, brightness=0.2), RAMP.repeat(64, 1, 1, 1))
    left, right = result[..., 4:12].mean((1, 2, 3)), result[..., 20:28].mean((1, 2, 3))
    assert (left < right).all()


def test_a_flip_that_is_asked_for_mirrors():
    result = augmented(AugmentationConfig(crop_scale=1, horizontal_flip=1.0), RAMP)
    assert torch.allclose(result, RAMP.flip(-1).float(), atol=1e-3)


def test_an_impossible_crop_is_refused():
    with pytest.raises(ValueError, match="crop_scale"):
        AugmentationConfig(crop_scale=0)
