"""The head: which maps it reads, its loss against a literal one, and which boxes it gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from evaluation.learning.yolo import FIRST_SCORE, VALUES, YoloHead, coarse_maps, detect, loss
from evaluation.learning.yolo_priors import Priors
from evaluation.metrics.average_precision import overlaps

SIDE = 64
GRIDS = [(8, 8), (4, 4), (2, 2)]


def boxes_and_images(seed, count, images):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, SIDE - 24, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(4, 24, (count, 2))], 1)
    return torch.from_numpy(boxes).float(), torch.from_numpy(rng.integers(0, images, count))


def maps_of(channels, batch=2, grids=GRIDS):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, wide, *grid, generator=generator) for wide, grid in zip(channels, grids, strict=True)]


@pytest.mark.parametrize(
    ("sides", "read"),
    [
        ([112, 56, 28, 14, 7], [28, 14, 7]),  # ResNet-50: layers 2 to 4, as in MGCA
        ([112, 56, 28, 14], [28, 14]),  # without its last stage (MedKLIP)
        ([112, 56, 28], [28]),
        ([112, 56], [56]),
        ([14], [14]),  # a transformer
        ([112, 56, 28, 28, 28], [28, 28, 28]),  # dilated
    ],
)
def test_maps_from_a_stride_of_eight_on_are_read(sides, read):
    maps = [torch.zeros(1, 2, side, side) for side in sides]
    assert [found.shape[-1] for found in coarse_maps(maps, 224)] == read


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_outputs_are_in_the_order_of_the_priors(levels):
    """An anchor's own bias comes out at the priors of its size, and the cells of a map row by row."""
    head = YoloHead([6, 5, 4][:levels], 16).eval()
    grids = GRIDS[:levels]
    priors = Priors.over(grids, SIDE)
    with torch.no_grad():
        number = 0
        for output in head.outputs:
            output[-1].weight.zero_()
            for anchor in range(len(output[-1].bias) // VALUES):
                output[-1].bias[anchor * VALUES] = number
                number += 1
        outputs = head(maps_of([6, 5, 4][:levels], grids=grids))
    assert outputs.shape == (2, len(priors), VALUES)
    sizes = [tuple(size) for size in priors.sizes.tolist()]
    expected = [sorted(set(sizes), key=sizes.index).index(size) for size in sizes]
    assert outputs[0, :, 0].tolist() == expected


def test_each_output_sees_its_own_cell():
    """The gradient of one prior's output is largest under its cell."""
    head = YoloHead([6], 16).eval()
    priors = Priors.over([(8, 8)], SIDE)
    maps = [found.requires_grad_() for found in maps_of([6], 1, [(8, 8)])]
    for prior in (0, 13, 64 * 4 + 42):
        (gradient,) = torch.autograd.grad(head(maps)[0, prior, 4], maps)
        weight = gradient[0].abs().sum(0)
        seen = (weight > 0).nonzero().float()
        column, row = priors.cells[prior].tolist()
        assert weight[int(row), int(column)] > 0
        assert ((seen - torch.tensor([row, column])).abs() <= 3).all()  # three 3 x 3 convolutions


def test_a_coarse_map_speaks_to_finer_ones_and_not_the_reverse():
    head = YoloHead([6, 5, 4], 16).eval()
    maps = [found.requires_grad_() for found in maps_of([6, 5, 4])]
    outputs = head(maps)
    fine, coarse = outputs[:, :192].sum(), outputs[:, -12:].sum()
    assert all(gradient.any() for gradient in torch.autograd.grad(fine, maps, retain_graph=True))
    assert [bool(gradient.any()) for gradient in torch.autograd.grad(coarse, maps)] == [False, False, True]


def test_at_first_nothing_is_sure():
    outputs = YoloHead([6, 5, 4], 16)(maps_of([6, 5, 4]))
    assert abs(outputs[..., 4].sigmoid().mean() / FIRST_SCORE - 1) < 0.5


def literal_loss(outputs, priors, boxes, images):
    """The paper's loss in words, term by term."""
    chosen, ignored = priors.assign(boxes, images, len(outputs))
    total, found = 0.0, set()
    for box, image, prior in zip(boxes.tolist(), images.tolist(), chosen.tolist(), strict=True):
        own = outputs[image, prior].tolist()
        centre, size = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], [box[2] - box[0], box[3] - box[1]]
        for axis in (0, 1):
            place = centre[axis] / priors.strides[prior, axis].item() - priors.cells[prior, axis].item()
            guess = 1 / (1 + math.exp(-own[axis]))
            total -= place * math.log(guess) + (1 - place) * math.log(1 - guess)
            total += (own[2 + axis] - math.log(size[axis] / priors.sizes[prior, axis].item())) ** 2 / 2
        found.add((image, prior))
    for image in range(len(outputs)):
        for prior in range(len(priors)):
            sure = 1 / (1 + math.exp(-outputs[image, prior, 4].item()))
            if (image, prior) in found:
                total -= math.log(sure)
            elif not ignored[image, prior]:
                total -= math.log(1 - sure)
    return total / len(outputs)


@pytest.mark.parametrize(("grids", "count"), [(GRIDS, 9), (GRIDS[:1], 9), (GRIDS, 0)])
def test_the_loss_is_the_literal_one(grids, count):
    priors = Priors.over(grids, SIDE)
    boxes, images = boxes_and_images(count, count, 4)
    outputs = torch.randn(4, len(priors), VALUES, generator=torch.Generator().manual_seed(1))
    assert float(loss(outputs, priors, boxes, images)) == pytest.approx(
        literal_loss(outputs, priors, boxes, images), rel=1e-5
    )


def test_the_gradient_of_the_loss():
    priors = Priors.over([(2, 2)], SIDE)
    boxes, images = boxes_and_images(3, 3, 2)
    outputs = torch.randn(2, len(priors), VALUES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    double = Priors(priors.cells.double(), priors.strides.double(), priors.sizes.double())
    assert torch.autograd.gradcheck(lambda given: loss(given, double, boxes.double(), images), outputs.requires_grad_())


def test_outputs_that_encode_the_boxes_lose_little_and_are_detected():
    priors = Priors.over(GRIDS, SIDE)
    boxes, images = boxes_and_images(5, 6, 3)
    outputs = torch.zeros(3, len(priors), VALUES)
    outputs[..., 4] = -20
    chosen, _ = priors.assign(boxes, images, 3)
    places, scales = priors.encode(boxes, chosen)
    outputs[images, chosen] = torch.cat([places.logit(), scales, torch.full((6, 1), 20.0)], 1)
    entropy = -(places * places.log() + (1 - places) * (1 - places).log()).sum() / 3
    assert float(loss(outputs, priors, boxes, images) - entropy) < 1e-3
    found_images, corners, scores = detect(outputs, priors, SIDE, 0.5, 0.5)
    assert sorted(found_images.tolist()) == sorted(images.tolist())
    assert (scores > 0.99).all()
    for box, image in zip(boxes, images, strict=True):
        near = (corners[found_images == image] - box).abs().amax(1).min()
        assert near < 1e-3


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from([0.05, 0.5, 0.8]))
def test_detections_are_sure_inside_and_apart(seed, confidence, overlap):
    priors = Priors.over(GRIDS, SIDE)
    outputs = torch.randn(2, len(priors), VALUES, generator=torch.Generator().manual_seed(seed)) * 2
    images, corners, scores = detect(outputs, priors, SIDE, confidence, overlap)
    assert (scores >= confidence).all()
    assert (scores.diff() <= 0).all()
    assert ((corners >= 0) & (corners <= SIDE)).all()
    candidates = priors.decode(outputs[..., :2].sigmoid(), outputs[..., 2:4]).clamp(0, SIDE)
    for image in range(2):
        kept = corners[images == image].numpy()
        between = overlaps(kept[:, None], kept[None])
        assert (between[~np.eye(len(kept), dtype=bool)] <= overlap + 1e-6).all()
        sure = outputs[image, :, 4].sigmoid() >= confidence
        dropped = overlaps(candidates[image][sure].numpy()[:, None], kept[None]).max(1, initial=0)
        assert ((dropped > overlap - 1e-6) | (dropped == 1)).all()  # what is left out has a surer box near


def test_huge_scales_stay_within_the_image():
    priors = Priors.over([(2, 2)], SIDE)
    outputs = torch.full((1, len(priors), VALUES), 1e4)
    _, corners, _ = detect(outputs, priors, SIDE, 0.5, 0.5)
    assert corners.tolist() == [[0, 0, SIDE, SIDE]]


def test_the_head_is_as_wide_as_it_is_told():
    head = YoloHead([512, 1024, 2048], 512)
    wide = [[layer.out_channels for layer in block.modules() if isinstance(layer, nn.Conv2d)] for block in head.blocks]
    assert wide == [[128, 256, 128, 256, 128], [256, 512, 256, 512, 256], [512, 1024, 512, 1024, 512]]  # Darknet-53's
