"""Average precision against COCO's own code, and weights against copies of images."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision.ops import box_iou

from evaluation.metrics.average_precision import Found, average_precision, overlaps

THRESHOLDS = tuple(np.arange(8, 16) / 20)
SIDE = 12


def coco_average_precision(found, truth, thresholds=THRESHOLDS):
    """(thresholds,) as pycocotools says."""

    def annotation(corners):
        x1, y1, x2, y2 = (float(value) for value in corners)
        return {"bbox": [x1, y1, x2 - x1, y2 - y1], "category_id": 1, "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}

    boxes = [(image, corners) for image, group in enumerate(truth) for corners in group]
    gold = COCO()
    gold.dataset = {
        "images": [{"id": image} for image in range(len(truth))],
        "categories": [{"id": 1}],
        "annotations": [
            {**annotation(corners), "image_id": image, "id": number}
            for number, (image, corners) in enumerate(boxes, start=1)
        ],
    }
    results = [
        {**annotation(corners), "image_id": int(image), "score": float(score)}
        for image, corners, score in zip(*found, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        gold.createIndex()
        judge = COCOeval(gold, gold.loadRes(results) if results else COCO(), "bbox")
        judge.params.imgIds = list(range(len(truth)))
        judge.params.catIds = [1]
        judge.params.iouThrs = np.array(thresholds)
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][:, :, 0, 0, -1].mean(axis=1)
    return np.where(precision < 0, np.nan, precision)


def random_boxes(rng, count, grid=1.0):
    """(count, 4) within the image, on a grid so that equal overlaps and borders are common."""
    corners = np.sort(rng.integers(0, int(SIDE / grid) + 1, (count, 2, 2)), axis=1).astype(np.float32)
    corners[:, 1] += corners[:, 0] == corners[:, 1]
    return corners.reshape(-1, 4) * np.float32(grid)


def random_case(seed, images=9, most=6, scores=5, grid=1.0):
    """Boxes near and far from the true ones with few distinct scores; images without either."""
    rng = np.random.default_rng(seed)
    truth = [random_boxes(rng, rng.integers(0, 4), grid) for _ in range(images)]
    images_of, corners = [], []
    for image, boxes in enumerate(truth):
        near = boxes[rng.integers(0, len(boxes), rng.integers(0, 4))] if len(boxes) else boxes
        guessed = np.concatenate([near, random_boxes(rng, rng.integers(0, most), grid)])
        images_of += [image] * len(guessed)
        corners.append(guessed)
    found = Found(
        np.array(images_of, np.int64),
        np.concatenate(corners),
        (rng.integers(1, scores + 1, len(images_of)) / scores).astype(np.float32),
    )
    return found.select(rng.permutation(len(images_of))), truth


def point(found, truth, thresholds=THRESHOLDS):
    return average_precision(found, truth, thresholds, np.ones((1, len(truth))))[0]


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize(("scores", "grid"), [(3, 1.0), (1000, 1.0), (1000, 0.01)])
def test_it_is_cocos(seed, scores, grid):
    """Ties of score and of overlap, boxes on the border, images without boxes and without findings."""
    found, truth = random_case(seed, scores=scores, grid=grid)
    np.testing.assert_allclose(point(found, truth), coco_average_precision(found, truth), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("rank", "counts"), [(99, True), (100, False)])
def test_only_the_surest_hundred_of_a_image_count(rank, counts):
    truth = [np.array([[0, 0, 6, 4]], np.float32)]
    corners = np.tile(np.float32([8, 8, 9, 9]), (120, 1))
    corners[rank] = truth[0]
    found = Found(np.zeros(120, np.int64), corners, np.linspace(1, 0.1, 120, dtype=np.float32))
    assert (point(found, truth) > 0).all() == counts
    np.testing.assert_allclose(point(found, truth), coco_average_precision(found, truth), rtol=0, atol=1e-9)


def test_of_two_true_boxes_equally_near_the_last_is_taken():
    truth = [np.array([[0, 0, 6, 4], [2, 0, 8, 4]], np.float32)]
    between = np.array([[1, 0, 7, 4], [0, 0, 6, 4]], np.float32)
    found = Found(np.zeros(2, np.int64), between, np.array([0.9, 0.8], np.float32))
    assert (point(found, truth)[:-1] == 1).all()
    np.testing.assert_allclose(point(found, truth), coco_average_precision(found, truth), rtol=0, atol=1e-9)


def test_a_weight_is_so_many_copies_of_a_image():
    for seed in range(10):
        found, truth = random_case(seed, scores=10**6)
        weights = np.random.default_rng(seed).integers(0, 4, (3, len(truth)))
        computed = average_precision(found, truth, THRESHOLDS, weights)
        for row, counts in enumerate(weights):
            images = np.repeat(np.arange(len(truth)), counts)
            parts = [np.flatnonzero(found.images == image) for image in images]
            drawn = found.select(np.concatenate([np.empty(0, np.int64), *parts]))
            drawn = drawn._replace(images=np.repeat(np.arange(len(images)), [len(part) for part in parts]))
            expected = coco_average_precision(drawn, [truth[image] for image in images])
            np.testing.assert_allclose(computed[row], expected, rtol=0, atol=1e-9)


def test_nothing_to_find_is_unknown_and_nothing_found_is_zero():
    box = np.array([[0, 0, 4, 4]], np.float32)
    nothing = Found(np.empty(0, np.int64), np.empty((0, 4), np.float32), np.empty(0, np.float32))
    assert (point(nothing, [box, box[:0]]) == 0).all()
    assert np.isnan(point(nothing, [box[:0], box[:0]])).all()
    assert np.isnan(point(Found(np.array([0]), box, np.array([0.5])), [box[:0]])).all()
    assert np.isnan(average_precision(nothing, [box, box[:0]], THRESHOLDS, np.array([[0, 2]]))).all()


def test_a_box_on_a_image_without_any_costs_precision():
    box = np.array([[0, 0, 4, 4]], np.float32)
    alone = Found(np.array([0]), box, np.array([0.5]))
    assert (point(alone, [box, box[:0]]) == 1).all()
    surer = Found(np.array([0, 1]), np.repeat(box, 2, 0), np.array([0.5, 0.9]))
    np.testing.assert_allclose(point(surer, [box, box[:0]]), 0.5)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 6), st.integers(0, 6))
def test_overlaps_are_torchvisions(seed, first, second):
    rng = np.random.default_rng(seed)
    boxes, others = random_boxes(rng, first), random_boxes(rng, second)
    computed = overlaps(boxes[:, None], others[None])
    expected = box_iou(torch.from_numpy(boxes).double(), torch.from_numpy(others).double())
    np.testing.assert_allclose(computed, expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(computed, overlaps(others[:, None], boxes[None]).T)
    assert ((computed >= 0) & (computed <= 1)).all()
    assert (overlaps(boxes, boxes) == 1).all()
