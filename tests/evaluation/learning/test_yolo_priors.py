"""Boxes and priors: encoding, and assignment against a literal version."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.learning.yolo_priors import ANCHORS, IGNORED_OVERLAP, Priors, deal_anchors

SIDE = 64
GRIDS = {1: [(8, 8)], 2: [(8, 8), (4, 4)], 3: [(16, 16), (8, 8), (4, 4)]}


def random_boxes(rng, count, side=SIDE):
    """(count, 4) of many sizes; some touch the border."""
    sizes = np.exp(rng.uniform(np.log(2), np.log(side), (count, 2)))
    corners = rng.uniform(0, 1, (count, 2)) * (side - sizes)
    corners = np.where(rng.random((count, 2)) < 0.2, side - sizes, corners)
    return torch.from_numpy(np.concatenate([corners, corners + sizes], 1).clip(0, side)).float()


@pytest.mark.parametrize("maps", [1, 2, 3])
def test_every_anchor_is_dealt_once_from_small_to_large(maps):
    dealt = deal_anchors(maps)
    assert len(dealt) == maps
    assert [anchor for group in dealt for anchor in group] == list(ANCHORS)
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


def test_three_maps_have_the_anchors_of_the_paper():
    assert deal_anchors(3)[2] == ((116, 90), (156, 198), (373, 326))
    priors = Priors.over([(52, 52), (26, 26), (13, 13)], 416)
    assert len(priors) == 3 * (52**2 + 26**2 + 13**2) == 10647
    assert priors.strides[[0, -1]].tolist() == [[8, 8], [32, 32]]
    assert priors.sizes[[0, -1]].tolist() == [[10, 13], [373, 326]]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([1, 2, 3]))
def test_decoding_an_encoded_box_gives_it_back(seed, maps):
    priors = Priors.over(GRIDS[maps], SIDE)
    boxes = random_boxes(np.random.default_rng(seed), 12)
    chosen, _ = priors.assign(boxes, torch.zeros(12, dtype=torch.int64), 1)
    places, scales = priors.encode(boxes, chosen)
    assert ((places >= 0) & (places < 1)).all()
    own = Priors(priors.cells[chosen], priors.strides[chosen], priors.sizes[chosen])
    torch.testing.assert_close(own.decode(places, scales), boxes, rtol=0, atol=1e-4)


def literal_assignment(boxes, images, count, grids):
    """Box by box, anchor by anchor and cell by cell."""
    first, layout = 0, []
    for (rows, columns), anchors in zip(grids, deal_anchors(len(grids)), strict=True):
        for width, height in anchors:
            layout.append((first, rows, columns, width * SIDE / 416, height * SIDE / 416))
            first += rows * columns
    chosen, ignored = [], np.zeros((count, first), bool)
    for image, (x1, y1, x2, y2) in zip(images, boxes, strict=True):
        best, best_similarity = None, -1.0
        for start, rows, columns, width, height in layout:
            common = min(width, x2 - x1) * min(height, y2 - y1)
            similarity = common / (width * height + (x2 - x1) * (y2 - y1) - common)
            column, row = int((x1 + x2) / 2 // (SIDE / columns)), int((y1 + y2) / 2 // (SIDE / rows))
            if similarity > best_similarity:
                best, best_similarity = start + row * columns + column, similarity
            for i in range(rows):
                for j in range(columns):
                    x, y = (j + 0.5) * SIDE / columns, (i + 0.5) * SIDE / rows
                    across = min(x2, x + width / 2) - max(x1, x - width / 2)
                    down = min(y2, y + height / 2) - max(y1, y - height / 2)
                    shared = max(0, across) * max(0, down)
                    union = width * height + (x2 - x1) * (y2 - y1) - shared
                    ignored[image, start + i * columns + j] |= shared / union > IGNORED_OVERLAP
        chosen.append(best)
    ignored[images, chosen] = False
    return chosen, ignored


@pytest.mark.parametrize("maps", [1, 2, 3])
def test_assignment_is_the_literal_one(maps):
    rng = np.random.default_rng(maps)
    priors = Priors.over(GRIDS[maps], SIDE)
    boxes, images = random_boxes(rng, 60), rng.integers(0, 5, 60)
    chosen, ignored = priors.assign(boxes, torch.from_numpy(images), 6)
    expected, expected_ignored = literal_assignment(boxes.double().tolist(), images, 6, GRIDS[maps])
    assert chosen.tolist() == expected
    np.testing.assert_array_equal(ignored.numpy(), expected_ignored)
    assert ignored.any()
    assert not ignored[5].any()  # an image without a box


def test_two_alike_boxes_of_one_cell_share_a_prior_and_none_is_ignored_for_it():
    priors = Priors.over(GRIDS[1], SIDE)
    boxes = torch.tensor([[8.0, 8.0, 24.0, 24.0], [8.5, 8.5, 24.5, 24.5]])
    chosen, ignored = priors.assign(boxes, torch.tensor([0, 0]), 1)
    assert chosen[0] == chosen[1]
    assert not ignored[0, chosen[0]]


def test_no_boxes_at_all():
    priors = Priors.over(GRIDS[2], SIDE)
    chosen, ignored = priors.assign(torch.empty(0, 4), torch.empty(0, dtype=torch.int64), 3)
    assert chosen.shape == (0,)
    assert ignored.shape == (3, len(priors))
    assert not ignored.any()


def test_cells_of_maps_that_do_not_divide_the_side():
    """GLoRIA's 299 pixels give 19 cells, of 15.7 pixels."""
    priors = Priors.over([(38, 38), (19, 19), (10, 10)], 299)
    edge = torch.tensor([[279.0, 279.0, 299.0, 299.0], [298.0, 298.5, 299.0, 299.0]])
    chosen, _ = priors.assign(edge, torch.tensor([0, 0]), 1)
    places, _ = priors.encode(edge, chosen)
    assert ((places >= 0) & (places < 1)).all()
    assert math.isclose(
        float(priors.strides[chosen[0], 0] * (priors.cells[chosen[0], 0] + places[0, 0])), 289, abs_tol=1e-3
    )
