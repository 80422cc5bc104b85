"""The detection task: planted squares are found, every image counts, and MGCA's way of counting is told apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluation.dataset import Images
from evaluation.errors import EvaluationError, NotAvailableError
from evaluation.learning.annotated import BoxedImages
from evaluation.learning.detector import OVERLAPS, fit_and_score, score, train_detector
from evaluation.learning.frozen_maps import FrozenMaps
from evaluation.metrics.average_precision import Found
from evaluation.tasks.detection import DetectionSettings
from models.method import Method
from tests.models.tiny import tiny_method

SIDE = 48
QUICK = DetectionSettings(learning_rate=2e-3, maximum_steps=80, width=32)
METRICS = ["map", *(f"ap_{percent}" for percent in (40, 45, 50, 55, 60, 65, 70, 75))]


def squares(count, seed, prefix="p"):
    """Images of noise with none, one or two bright rectangles."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 80, (count, SIDE, SIDE), np.uint8)
    boxes = []
    for image in pixels:
        sizes = rng.integers(12, 24, (rng.integers(0, 3), 2))
        corners = rng.integers(0, SIDE - sizes + 1)
        boxes.append(np.concatenate([corners, corners + sizes], 1).astype(np.float32))
        for x1, y1, x2, y2 in boxes[-1].astype(int):
            image[y1:y2, x1:x2] = rng.integers(150, 255)
    subjects = np.array([f"{prefix}{seed}-{row // 2}" for row in range(count)])
    return BoxedImages(Images.of_array(pixels, subjects), boxes)


@pytest.fixture(scope="module")
def splits():
    return squares(96, 1), squares(24, 2), squares(60, 3)


@pytest.fixture(scope="module")
def method():
    return tiny_method("medklip")


@pytest.fixture(scope="module")
def values(method, splits):
    return fit_and_score(method, *splits, QUICK, repeat=0)


def test_planted_squares_are_found(method, splits, values):
    assert [value.metric for value in values] == METRICS
    assert all(value.class_name == "macro" and value.n == 60 for value in values)
    (trained,) = (value for value in values if value.metric == "map")
    untrained = fit_and_score(method, *splits, replace(QUICK, maximum_steps=1), repeat=0)[0]
    assert untrained.value < 0.05
    assert trained.low > 0.2
    assert trained.low < trained.value < trained.high
    by_overlap = [value.value for value in values[1:]]
    assert by_overlap == sorted(by_overlap, reverse=True)
    assert trained.value == pytest.approx(np.mean(by_overlap))
    assert by_overlap[0] > 0.6


def test_the_same_draw_gives_the_same_numbers_and_another_one_others(method, splits, values):
    short = replace(QUICK, maximum_steps=12)
    torch.manual_seed(5)
    first, again, other = (fit_and_score(method, *splits, short, repeat)[0] for repeat in (3, 3, 4))
    assert first == again
    np.testing.assert_array_equal(first.resampled, again.resampled)
    assert first != other


def test_the_method_is_left_as_it_was(splits):
    method = tiny_method("medklip").train()
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    strides = [tensor.stride() for tensor in method.state_dict().values()]
    fit_and_score(method, *splits, replace(QUICK, maximum_steps=2), repeat=0)
    assert method.training
    assert all(weight.requires_grad == tiny.requires_grad for weight, tiny in _pairs(method, tiny_method("medklip")))
    assert [tensor.stride() for tensor in method.state_dict().values()] == strides
    for name, tensor in method.state_dict().items():
        assert torch.equal(tensor, before[name])


def _pairs(first, second):
    return zip(first.parameters(), second.parameters(), strict=True)


@pytest.mark.parametrize("name", ["mgca", "chexzero", "convirt"])
def test_transformers_and_whole_residual_networks_detect(name, splits):
    values = fit_and_score(tiny_method(name), *splits, replace(QUICK, maximum_steps=3), repeat=0, resamples=10)
    assert all(0 <= value.value <= 1 for value in values)


def test_a_method_without_maps_says_so(splits):
    class Blind(Method):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

    with pytest.raises(NotAvailableError, match="has no feature maps"):
        fit_and_score(Blind(), *splits, QUICK, repeat=0)


def test_maps_that_are_kept_are_those_that_are_not(method, splits):
    pixels, rows = splits[0].pixels, np.array([5, 60, 2])
    kept, computed = FrozenMaps(method, pixels, memory=100), FrozenMaps(method, pixels, memory=0)
    assert kept.kept is not None
    assert computed.kept is None
    for one, other in zip(kept[rows], computed[rows], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_boxes_at_the_border_are_seen_by_a_method_that_crops(splits):
    """A crop to the centre leaves nothing of them."""
    images = squares(48, 5)
    pixels = np.zeros_like(images.pixels[:])
    corners = np.random.default_rng(0).integers(0, 2, (48, 2)) * (SIDE - 8)
    boxes = [np.array([[x, y, x + 8, y + 8]], np.float32) for x, y in corners]
    for image, (x, y) in zip(pixels, corners, strict=True):
        image[y : y + 8, x : x + 8] = 250
    bordered = BoxedImages(Images.of_array(pixels, images.subjects), boxes)
    method = tiny_method("medklip")
    method.fit = "crop"
    others = (
        replace(bordered, images=Images.of_array(pixels, np.char.add(prefix, images.subjects))) for prefix in ("v", "t")
    )
    values = fit_and_score(method, bordered, *others, replace(QUICK, maximum_steps=30), repeat=0, resamples=10)
    assert values[1].value > 0.5
    assert method.fit == "crop"


def test_patients_of_other_splits_are_left_out_of_train(method, splits):
    train, validate, test = splits
    spoilt = train.pixels[:].copy()
    spoilt[:10] = 255
    known = train.subjects.copy()
    known[:10] = [*validate.subjects[:5], *test.subjects[:5]]
    short = replace(QUICK, maximum_steps=4)
    overlapping = fit_and_score(
        method, replace(train, images=Images.of_array(spoilt, known)), validate, test, short, repeat=0
    )
    apart = fit_and_score(method, train.select(np.arange(10, 96)), validate, test, short, repeat=0)
    assert overlapping == apart
    with pytest.raises(EvaluationError, match="No image to train on"):
        fit_and_score(method, test, validate, test, short, repeat=0)


def test_splits_without_a_box(method, splits):
    train, validate, test = splits

    def without(images):
        return replace(images, boxes=[corners[:0] for corners in images.boxes])

    short = replace(QUICK, maximum_steps=3)
    values = fit_and_score(method, without(train), without(validate), test, short, repeat=0, resamples=10)
    assert values[0].value is not None
    values = fit_and_score(method, train, validate, without(test), short, repeat=0, resamples=10)
    assert all(value.value is None and value.n == 60 for value in values)


def test_images_are_read_as_they_are_needed(method, splits):
    """Splits need not be arrays."""

    class Slow:
        def __init__(self, pixels):
            self.pixels = pixels

        def read(self, rows):
            return np.stack([self.pixels[row] for row in rows])

    slow = [replace(part, images=replace(part.images, stored=Slow(part.pixels[:]))) for part in splits]
    short = replace(QUICK, maximum_steps=3, map_memory=0)
    assert fit_and_score(method, *slow, short, repeat=0) == fit_and_score(method, *splits, short, repeat=0)


@pytest.mark.parametrize("box", [[4, 4, 4, 9], [-1, 0, 5, 5], [40, 40, 49, 48], [5, 5, 2, 9], [0, 0, np.nan, 5]])
def test_a_box_that_is_none_is_refused(method, splits, box):
    train, validate, test = splits
    spoilt = replace(test, boxes=[np.array([box], np.float32), *test.boxes[1:]])
    with pytest.raises(EvaluationError, match="A box is empty, or reaches out of its image"):
        fit_and_score(method, train, validate, spoilt, QUICK, repeat=0)


def test_boxes_of_other_images_are_refused(method, splits):
    train, validate, test = splits
    with pytest.raises(EvaluationError, match="60 images and the boxes of 59 images do not fit together"):
        fit_and_score(method, train, validate, replace(test, boxes=test.boxes[1:]), QUICK, repeat=0)


def case():
    """Ten images with a box and ten without; the boxes of five are found, and the other ten images have false ones."""
    box = np.array([[5, 5, 20, 20]], np.float32)
    truth = [box] * 10 + [box[:0]] * 10
    images = np.array([*range(5), *range(10, 20)])
    found = Found(images, np.repeat(box, 15, 0), np.array([0.6] * 5 + [0.9] * 10, np.float32))
    return found, truth, np.arange(20).astype(str)


def test_false_positives_on_images_without_boxes_and_misses_count():
    found, truth, subjects = case()
    value = score(found, truth, subjects)[0]
    right = np.arange(1, 6)
    recalls = np.linspace(0, 1, 101)
    expected = np.where(recalls <= 0.5, max(right / (right + 10)), 0).mean()
    assert value.value == pytest.approx(expected, abs=1e-9)
    assert value.n == 20


def test_trap_skipping_images_without_boxes_or_findings_makes_mgcas_map_perfect():
    found, truth, subjects = case()
    values = score(found, truth, subjects, skip_empty=True)
    assert [value.value for value in values] == [1.0] * (1 + len(OVERLAPS))
    assert values[0].n == 5
    assert values[0].low == 1.0


def test_trap_a_confidence_of_a_half_cuts_the_curve_short(method, splits):
    """The same head, read as MGCA's code does."""
    maps = FrozenMaps(method, splits[2].pixels, memory=100)
    detector = train_detector(method, *splits[:2], QUICK, repeat=0)
    whole = detector.find(maps, SIDE)
    detector.settings = replace(QUICK, confidence=0.5)
    cut = detector.find(maps, SIDE)
    assert set(cut.scores) < set(whole.scores)
    assert cut.scores.min() >= 0.5 > whole.scores.min()
    everything, truncated = (score(found, *_truth(splits[2]))[0].value for found in (whole, cut))
    assert truncated < everything


def _truth(images):
    return images.boxes, images.subjects


def test_the_interval_is_over_patients():
    """Twenty images of one patient are one repeat."""
    found, truth, subjects = case()
    alone = score(found, truth, subjects)[0]
    together = score(found, truth, np.repeat(["a", "b"], 10))[0]
    assert together.value == alone.value
    assert (together.low, together.high) != (alone.low, alone.high)
    assert score(found, truth, np.repeat("a", 20))[0].low == pytest.approx(alone.value)
