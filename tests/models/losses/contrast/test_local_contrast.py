"""LoVT's losses equal literal loops of their definition, and padding is nothing to them."""

import math

import pytest
import torch
from torch.nn.functional import cosine_similarity

from models.losses.contrast.global_contrast import global_contrast
from models.losses.contrast.local_contrast import local_contrast, near_positions
from models.losses.info_nce import info_nce

TEMPERATURE = 0.3


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def given(batch=3, places=6, dim=5):
    mask = torch.arange(places) < torch.tensor([[6], [4], [1]])[:batch]
    weights = numbers(batch, places, seed=2).abs()
    return numbers(batch, places, dim), numbers(batch, places, dim, seed=1), weights, mask


def literal(places, attended, positives, weights, mask, same_modality) -> float:
    """One sample: places against attended vectors."""
    there = [index for index, exists in enumerate(mask.tolist()) if exists]
    loss = 0.0
    for place in there:
        cosines = {n: cosine_similarity(places[place], attended[n], 0).item() / TEMPERATURE for n in there}
        whole = sum(math.exp(value) for value in cosines.values())
        if same_modality:
            others = [n for n in there if not positives[place, n]]
            whole += sum(math.exp(cosine_similarity(places[place], places[n], 0).item() / TEMPERATURE) for n in others)
        share = sum(positives[place, n].item() for n in there)
        for n in there:
            wanted = positives[place, n].item() / share * (math.log(whole) - cosines[n])
            loss += weights[place].item() / weights[mask].sum().item() * wanted
    return loss


@pytest.mark.parametrize("same_modality", [False, True])
@pytest.mark.parametrize("near", [0.0, 0.4])
def test_losses_equal_the_definition(near, same_modality):
    places, attended, weights, mask = given()
    positives = near_positions((2, 3), near)
    found = local_contrast(places, attended, positives, weights, mask, TEMPERATURE, same_modality)
    for sample in range(3):
        rest = positives, weights[sample], mask[sample], same_modality
        pair = places[sample], attended[sample]
        assert found[0][sample].item() == pytest.approx(literal(*pair, *rest), abs=1e-12)
        assert found[1][sample].item() == pytest.approx(literal(*reversed(pair), *rest), abs=1e-12)


def test_positives_are_near_on_the_grid():
    table = near_positions((3, 4), 0.5, decay=2.0)
    for first in range(12):
        for second in range(12):
            rows, columns = first // 4 - second // 4, first % 4 - second % 4
            distance = math.hypot(rows, columns) / 5
            expected = math.exp(-2 * distance) if distance <= 0.5 else 0
            assert table[first, second].item() == pytest.approx(expected)
    assert torch.equal(near_positions((3, 4), 0), torch.eye(12, dtype=torch.float64))
    assert near_positions((1, 4), 1.5, relative=False, decay=None).tolist()[0] == [1, 1, 0, 0]


def test_a_single_place_and_none_cost_nothing():
    places, attended, weights, mask = given()
    mask[0] = False
    places.requires_grad_()
    found = local_contrast(places, attended, torch.eye(6), weights, mask, TEMPERATURE)
    assert [loss[row].item() for loss in found for row in (0, 2)] == [0] * 4
    (found[0] + found[1]).sum().backward()
    assert places.grad.isfinite().all()
    assert not places.grad[~mask].any()


def test_weights_get_no_gradient_and_vectors_do():
    places, attended, weights, mask = given()
    weights.requires_grad_()
    found = local_contrast(places.requires_grad_(), attended, torch.eye(6), weights, mask, TEMPERATURE)
    found[0].sum().backward()
    assert weights.grad is None
    sides = places.detach().requires_grad_(), attended.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *pair: local_contrast(*pair, near_positions((2, 3), 0.4), weights, mask, TEMPERATURE, True), sides
    )


def test_global_loss_is_info_nce_or_has_further_negatives():
    images, texts = numbers(4, 5).requires_grad_(), numbers(4, 5, seed=1).requires_grad_()
    plain, more = global_contrast(images, texts, 0.2), global_contrast(images, texts, 0.2, same_modality=True)
    assert plain[0].item() == pytest.approx(info_nce(images, texts, 0.2, 1).item())
    assert plain[1].item() == pytest.approx(info_nce(images, texts, 0.2, 0).item())
    expected = 0.0
    for row in range(4):
        pairs = [cosine_similarity(images[row], text, 0).item() / 0.2 for text in texts]
        own = [cosine_similarity(images[row], images[k], 0).item() / 0.2 for k in range(4) if k != row]
        expected += (math.log(sum(math.exp(value) for value in pairs + own)) - pairs[row]) / 4
    assert more[0].item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(lambda *pair: global_contrast(*pair, 0.2, True), (images, texts))
