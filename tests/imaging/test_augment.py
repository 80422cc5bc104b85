"""Augmentation is drawn per sample, from one generator, and mirrors only the samples it is told to."""

import pytest
import torch

from imaging.augment import OPERATIONS, Augmentation, AugmentationConfig

SIDE = 32
RAMP = torch.linspace(0, 255, SIDE).to(torch.uint8).repeat(SIDE, 1)[None, None]  # dark on the left, bright on the right
DISC = (((torch.arange(SIDE) - 15.5).square()[:, None] + (torch.arange(SIDE) - 15.5).square()) < 25).to(
    torch.uint8
) * 255
EVERYTHING = AugmentationConfig(
    crop_scale=0.6, rotation=20, translation=0.1, scaling=0.05, brightness=0.4, contrast=0.4, blur=3.0,
    random_operations=2,
)  # fmt: skip


def augmented(config: AugmentationConfig, images: torch.Tensor, size: int = SIDE, **options) -> torch.Tensor:
    torch.manual_seed(0)
    return Augmentation(config, size)(images, **options)


def test_nothing_asked_for_changes_nothing():
    images = torch.randint(0, 256, (3, 1, SIDE, SIDE), dtype=torch.uint8)
    assert torch.equal(augmented(AugmentationConfig(), images), images.float())
    assert not AugmentationConfig().varies
    assert not AugmentationConfig(brightness=0.3, jitter_probability=0, blur=2.0, blur_probability=0).varies


@pytest.mark.parametrize(
    "config",
    [
        EVERYTHING,
        AugmentationConfig(crop_scale=0.5),
        AugmentationConfig(rotation=15),
        AugmentationConfig(translation=0.2),
        AugmentationConfig(scaling=0.2),
        AugmentationConfig(brightness=0.3),
        AugmentationConfig(contrast=0.3),
        AugmentationConfig(blur=2.0),
        AugmentationConfig(random_operations=2),
    ],
    ids=str,
)
def test_every_option_acts_and_samples_differ(config):
    batch = RAMP.repeat(16, 1, 1, 1)
    result = augmented(config, batch)
    assert result.shape == batch.shape
    assert result.dtype == torch.float32
    assert float(result.min()) >= 0
    assert float(result.max()) <= 255.001
    assert not torch.allclose(result, batch.float())
    assert config.varies
    assert len({tuple(image.flatten().tolist()) for image in result}) > 4
    assert torch.equal(batch, RAMP.repeat(16, 1, 1, 1))  # what came in is left alone


def test_the_same_seed_gives_the_same_images_and_leaves_the_global_one_alone():
    batch = RAMP.repeat(8, 1, 1, 1)
    network = Augmentation(EVERYTHING, SIDE)
    before = torch.get_rng_state()
    first, second, other = (network(batch, generator=torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_only_what_is_told_to_is_mirrored():
    flipped = torch.tensor([True, False, True])
    result = augmented(AugmentationConfig(horizontal_flip=1.0), RAMP.repeat(3, 1, 1, 1), flipped=flipped)
    assert torch.equal(result[0], RAMP[0].flip(-1).float())
    assert torch.equal(result[1], RAMP[0].float())
    assert torch.equal(augmented(AugmentationConfig(horizontal_flip=1.0), RAMP), RAMP.float())


def test_nothing_else_mirrors():
    result = augmented(EVERYTHING, RAMP.repeat(64, 1, 1, 1))
    left, right = result[..., 4:12].mean((1, 2, 3)), result[..., 20:28].mean((1, 2, 3))
    assert (left < right).all()


def test_a_window_is_a_piece_of_the_image_at_its_scale():
    images = torch.arange(40 * 40).reshape(1, 1, 40, 40).repeat(64, 1, 1, 1) / 7
    result = augmented(AugmentationConfig(window=True), images, 36)
    corners = result[:, 0, 0, 0] * 7
    assert torch.equal(result[5], images[5, :, int(corners[5]) // 40 :, int(corners[5].round()) % 40 :][:, :36, :36])
    assert {int(corner.round()) // 40 for corner in corners} == {0, 1, 2, 3, 4}  # every one can be drawn
    with pytest.raises(ValueError, match="window of 41"):
        augmented(AugmentationConfig(window=True), images, 41)


def test_a_larger_image_is_resized_to_the_networks_size():
    result = augmented(AugmentationConfig(), RAMP, 16)
    assert result.shape == (1, 1, 16, 16)
    assert torch.allclose(result[0, 0, 3], RAMP[0, 0, 0].float().view(16, 2).mean(1), atol=1e-3)


def test_a_crop_keeps_the_area_it_is_told_to():
    bright = torch.full((256, 1, SIDE, SIDE), 255, dtype=torch.uint8)
    assert (augmented(AugmentationConfig(crop_scale=0.3), bright)[..., 1:-1, 1:-1] > 254.9).all()  # never outside
    disc = DISC.repeat(256, 1, 1, 1)
    grown = augmented(AugmentationConfig(crop_scale=0.5), disc).mean((1, 2, 3)) / disc.float().mean()
    assert grown.max() < 2.1
    assert grown.median() > 1.1


def test_an_affine_map_turns_about_the_centre():
    disc = DISC.repeat(32, 1, 1, 1)
    assert (augmented(AugmentationConfig(rotation=90), disc) - disc).abs().mean() < 4  # a disc stays a disc
    moved = augmented(AugmentationConfig(translation=0.25), disc)
    place = (moved.sum(2)[:, 0] * torch.arange(SIDE)).sum(1) / moved.sum((1, 2, 3)) - 15.5
    assert place.abs().max() <= 8.01
    assert place.min() < -4
    assert place.max() > 4


@pytest.mark.parametrize(
    "changes", [{"blur": 2.0, "blur_probability": 0.3}, {"contrast": 0.5, "jitter_probability": 0.3}]
)
def test_a_share_of_the_images_is_changed(changes):
    images = torch.randint(0, 256, (400, 1, 8, 8), dtype=torch.uint8)
    torch.manual_seed(0)
    found = Augmentation(AugmentationConfig(**changes), 8)(images)
    changed = (found != images).flatten(1).any(1)
    assert 0.2 < changed.float().mean() < 0.4


def test_random_operations_are_drawn_per_sample_and_half_of_them_are_skipped():
    batch = (RAMP // 2 + 20).repeat(600, 1, 1, 1)  # an auto-contrast would act
    same = (augmented(AugmentationConfig(random_operations=1), batch) == batch).all(-1).all(-1)[:, 0]
    expected = 0.5 + 0.5 * 1 / len(OPERATIONS)  # skipped, or the identity
    assert 0.45 < float(same.float().mean()) < expected + 0.15  # a vertical shear of a ramp changes little


@pytest.mark.parametrize(
    ("option", "value"),
    [("crop_scale", 0), ("crop_ratio", 2), ("random_magnitude", 11), ("horizontal_flip", 2), ("flip_sides", "both"),
     ("blur", 0.01), ("scaling", 1.5), ("blur_probability", 1.5)],
)  # fmt: skip
def test_an_impossible_setting_is_refused(option, value):
    with pytest.raises(ValueError, match=option):
        AugmentationConfig(**{option: value})
