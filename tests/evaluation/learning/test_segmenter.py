"""A decoder finds what is there to see, the same way every time, on a frozen or tuned copy of the encoder."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from segmentation_models_pytorch.metrics import f1_score, get_stats, iou_score
from torch import nn

from evaluation.dataset import Images
from evaluation.errors import EvaluationError, NotAvailableError
from evaluation.learning import segmenter as segmentation
from evaluation.learning.annotated import MaskedImages
from evaluation.learning.segmenter import fit_and_score, overlap
from evaluation.learning.unet import Segmenter, segmentation_loss
from evaluation.metrics.classification import bootstrap
from evaluation.tasks.segmentation import SegmentationSettings
from models.method import Method
from models.registry import method_names
from tests.evaluation.small_method import MARK, SIZE, assert_same_state, images, join_images, small_method, state_of
from tests.models.tiny import tiny_method

QUICK = SegmentationSettings(learning_rate=0.02, batch_size=8, epochs=6)


def split(count, seed, size=SIZE):
    """Images on half of which there is a square. Two images per patient."""
    pixels, bright = images(count, seed, size)
    masks = np.zeros(pixels.shape, bool)
    masks[bright, MARK, MARK] = True
    subjects = np.array([f"{seed}-{row // 2}" for row in range(count)])
    return MaskedImages(Images.of_array(pixels, subjects), masks)


def splits(size=SIZE):
    return split(60, 0, size), split(20, 1, size), split(40, 2, size)


def scored(*parts, config=QUICK, repeat=0, resamples=50, **options):
    """Metric -> the value of the class."""
    values = fit_and_score(small_method(), *parts, "square", config, repeat, resamples=resamples, **options)
    assert [value.class_name for value in values] == ["square", "macro"] * 3
    return {value.metric: value for value in values[::2]}


@pytest.mark.parametrize("loss", ["mgca", "medklip"])
@pytest.mark.parametrize("tuned", [False, True])
def test_it_finds_what_is_there(loss, tuned):
    found = scored(*splits(), config=replace(QUICK, loss=loss), tuned=tuned)
    assert found["dice"].value > 0.8
    assert found["dice"].value >= found["iou"].value > 0.7
    assert found["dice_positive"].value > 0.6
    assert (found["dice"].n, found["iou"].n, found["dice_positive"].n) == (40, 40, 20)


def test_images_and_masks_of_another_size_than_the_networks():
    assert scored(*splits(size=22))["dice_positive"].value > 0.6


def test_the_repeat_decides_and_the_method_is_left_alone():
    method = small_method()
    before, random = state_of(method), torch.get_rng_state()
    quick = replace(QUICK, maximum_steps=10)
    repeats = [
        fit_and_score(method, *splits(), "square", quick, repeat, tuned=True, resamples=5) for repeat in (0, 0, 1)
    ]
    assert repeats[0] == repeats[1] != repeats[2]
    assert_same_state(method, before)
    assert all(weight.requires_grad for weight in method.parameters())
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("tuned", [False, True])
def test_a_frozen_encoder_keeps_weights_and_statistics(tuned):
    method = small_method()
    segmenter = segmentation._fit(method, *splits()[:2], QUICK, 0, tuned, None)
    same = [torch.equal(tensor, method.state_dict()[name]) for name, tensor in segmenter.method.state_dict().items()]
    assert all(same) != tuned


def test_an_image_without_a_mask_is_right_when_nothing_is_found():
    areas = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 5], [2, 4, 3], [3, 3, 3]])
    found = overlap(areas)
    np.testing.assert_allclose(found["dice"], [1, 0, 0, 4 / 7, 1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found["iou"], [1, 0, 0, 2 / 5, 1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found["dice_positive"], [np.nan, np.nan, 0, 4 / 7, 1], rtol=0, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.sampled_from([0.0, 0.2, 1.0]))
def test_overlaps_are_those_of_the_library(seed, threshold, share):
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=(6, 1, 5, 4)) - threshold)
    masks = torch.from_numpy(rng.random((6, 1, 5, 4)) < share)
    masks[0], logits[:2] = False, -1.0
    found = overlap(segmentation._areas(logits, masks.float()).numpy())
    stats = get_stats((logits > 0).long(), masks.long(), mode="binary")
    for name, reference in (("dice", f1_score), ("iou", iou_score)):
        expected = reference(*(stat.double() for stat in stats), zero_division=1.0)[:, 0]
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-9)


def test_numbers_are_means_over_images_with_intervals_by_patient(monkeypatch):
    seen, scores = [], segmentation.overlap
    monkeypatch.setattr(segmentation, "overlap", lambda areas: seen.append(scores(areas)) or seen[-1])
    parts = splits()
    found = scored(*parts)
    for metric, column in seen[0].items():
        assert found[metric].value == pytest.approx(np.nanmean(column), abs=1e-9)
        interval = bootstrap(np.nanmean, [column], parts[2].subjects, 50)
        assert (found[metric].low, found[metric].high) == pytest.approx(interval, abs=1e-9)


def test_without_any_mask_there_is_no_dice_of_positive_images():
    train, validate, test = splits()
    test.masks[:] = False
    pixels = test.images.stored.pixels
    pixels[1::2] = pixels[::2]
    found = scored(train, validate, test)
    assert found["dice_positive"].value is None
    assert found["dice_positive"].n == 0
    assert found["dice"].value == found["iou"].value > 0.5  # a share of images


def test_nothing_to_find_in_train():
    train, validate, test = splits()
    train.masks[:] = validate.masks[:] = False
    assert scored(train, validate, test, config=replace(QUICK, epochs=12))["dice"].value == 0.5  # the empty ones


def test_patients_of_other_splits_are_not_learnt_from():
    train, validate, test = splits()
    parts = train, test, validate
    leaked = MaskedImages(join_images(*parts), np.concatenate([part.masks for part in parts]))
    quick = replace(QUICK, maximum_steps=4)
    assert scored(leaked, validate, test, config=quick) == scored(train, validate, test, config=quick)


def test_steps_are_capped_and_validate_may_be_empty():
    train, validate, test = splits()
    told = []
    nobody = validate.select(np.empty(0, int))
    scored(train, nobody, test, config=replace(QUICK, maximum_steps=3), progress=lambda *pair: told.append(pair))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_masks_move_with_their_images():
    masks = torch.zeros(40, 1, SIZE, SIZE)
    masks[:, :, MARK, 3:9] = 1
    config = SegmentationSettings(augmented=0.5, rotation=30.0, scaling=0.2, translation=0.2)
    torch.manual_seed(0)
    images, moved = segmentation._movement(config, SIZE)(masks * 255, masks)
    assert torch.equal(moved > 0, images > 127.5)
    unmoved = (moved == masks).all(dim=(1, 2, 3)).float().mean()
    assert 0.25 < unmoved < 0.75
    assert torch.equal(images[(moved == masks).all(dim=(1, 2, 3))][0], masks[0] * 255)


def literal_dice(logits, masks):
    return 2 * (logits.sigmoid() * masks).sum() / (logits.sigmoid() + masks).sum()


def test_losses_are_those_of_the_papers():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 8, 8, dtype=torch.float64, generator=generator)
    masks = (torch.rand(3, 1, 8, 8, generator=generator) < 0.3).double()
    right = torch.where(masks > 0, logits.sigmoid(), 1 - logits.sigmoid())
    focal = (-((1 - right) ** 2) * right.log()).mean()
    expected = 10 * focal - literal_dice(logits, masks).log()
    assert segmentation_loss("mgca")(logits, masks).item() == pytest.approx(expected.item(), abs=1e-9)
    expected = F.binary_cross_entropy(logits.sigmoid(), masks) + 1 - literal_dice(logits, masks)
    assert segmentation_loss("medklip")(logits, masks).item() == pytest.approx(expected.item(), abs=1e-9)


@pytest.mark.parametrize("shapes", [[(8, 8, 8), (16, 4, 4)], [(16, 4, 4)]])
def test_a_decoder_is_as_wide_as_it_is_told(shapes):
    segmenter = Segmenter(small_method(single=len(shapes) == 1), shapes, width=6)
    widths = [part.out_channels for part in segmenter.decoder.modules() if isinstance(part, nn.Conv2d)]
    assert sorted(set(widths)) == [6, 12]
    for side in (SIZE, 22, 10):
        assert segmenter(torch.zeros(2, 1, side, side, dtype=torch.uint8)).shape == (2, 1, side, side)


def test_one_map_is_enough():
    values = fit_and_score(small_method(single=True), *splits(), "square", QUICK, 0, resamples=5)
    assert values[-2].value > 0.5


@pytest.mark.parametrize("name", method_names())
def test_every_method_can_be_segmented_with(name):
    config = SegmentationSettings(batch_size=4, maximum_steps=1, width=2)
    parts = [split(8, seed, 32) for seed in range(3)]
    values = fit_and_score(tiny_method(name), *parts, "square", config, 0, resamples=5)
    assert values[0].value is not None


def test_mistakes_are_one_sentence():
    train, validate, test = splits()
    with pytest.raises(EvaluationError, match="loss is `dice`, but must be one of mgca, medklip"):
        SegmentationSettings(loss="dice")
    with pytest.raises(EvaluationError, match="one boolean mask per image"):
        scored(replace(train, masks=train.masks.astype(np.uint8)), validate, test)
    with pytest.raises(EvaluationError, match="one boolean mask per image"):
        scored(replace(train, masks=train.masks[:, :8]), validate, test)
    with pytest.raises(EvaluationError, match="No image to train on"):
        scored(test, validate, test)
    with pytest.raises(EvaluationError, match="No image to score"):
        scored(train, validate, test.select(np.empty(0, int)))
    method = Method()
    method.weight = nn.Parameter(torch.zeros(1))
    with pytest.raises(NotAvailableError, match="Method has no feature maps"):
        fit_and_score(method, train, validate, test, "square", QUICK, 0)
