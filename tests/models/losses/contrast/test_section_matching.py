"""Section matching against a loop over the reports that have both sections."""

import math

import pytest
import torch

from models.losses.contrast.section_matching import section_matching


def given(reports=5, dim=4):
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(reports, dim, generator=generator, dtype=torch.float64) for _ in range(2))
    return first, second, torch.tensor([True, False, True, True, False])


def test_the_loss_is_that_of_the_reports_with_both():
    first, second, both = given()
    rows = [0, 2, 3]
    scores = {(i, j): float(torch.cosine_similarity(first[i], second[j], 0)) / 0.5 for i in rows for j in rows}
    total = 0.0
    for i in rows:
        total -= math.log(math.exp(scores[i, i]) / sum(math.exp(scores[i, j]) for j in rows))
        total -= math.log(math.exp(scores[i, i]) / sum(math.exp(scores[j, i]) for j in rows))
    assert section_matching(first, second, both, 0.5).item() == pytest.approx(total / 3, abs=1e-12)


def test_others_have_no_part_and_no_gradient():
    first, second, both = given()
    first.requires_grad_()
    section_matching(first, second, both, 0.5).backward()
    assert (first.grad.abs().sum(1) > 0).equal(both)
    assert section_matching(first, second, torch.zeros(5, dtype=torch.bool), 0.5) == 0


def test_gradients():
    first, second, both = given()
    torch.autograd.gradcheck(
        lambda *pair: section_matching(*pair, both, 0.5), (first.requires_grad_(), second.requires_grad_())
    )
