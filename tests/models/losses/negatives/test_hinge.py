"""The hinge loss equals a literal loop of VSE++'s and DSVE's equations, with all options."""

import math

import pytest
import torch

from models.losses.negatives.hinge import hinge
from models.losses.negatives.similarities import similarities

MARGIN = 0.2


def square(rows=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(rows, rows, generator=generator, dtype=torch.float64) * 2 - 1
    return scores.requires_grad_()


def literal(scores, margin, hardest, excluded, negated):
    """One image and one text after another."""
    scores, total, count = scores.tolist(), 0.0, len(scores)
    for own in range(count):
        for direction in ("texts", "images"):
            negatives = []
            for other in range(count):
                score = scores[own][other] if direction == "texts" else scores[other][own]
                if other == own:
                    negatives += [-score] if negated else []
                elif excluded is None or not bool(excluded[own, other]):
                    negatives.append(score)
            negatives.sort(reverse=True)
            for score in negatives[: hardest or count]:
                total += max(0.0, margin - scores[own][own] + score)
    return total


@pytest.mark.parametrize("negated", [False, True])
@pytest.mark.parametrize("excluding", [False, True])
@pytest.mark.parametrize("hardest", [0, 1, 2, 9])
def test_equals_the_equations(hardest, excluding, negated):
    scores = square()
    groups = torch.tensor([0, 1, 0, 2, 2])
    excluded = groups[:, None] == groups if excluding else None
    expected = literal(scores.detach(), MARGIN, hardest, excluded, negated)
    assert hinge(scores, MARGIN, hardest, excluded, negated).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("hardest", [0, 1, 2])
def test_gradients(hardest):
    assert torch.autograd.gradcheck(lambda scores: hinge(scores, MARGIN, hardest), square(seed=3))


def test_a_batch_of_texts_that_are_all_equal_has_no_loss_and_no_gradient():
    scores = square()
    loss = hinge(scores, MARGIN, 1, torch.ones(5, 5, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert not scores.grad.any()


def test_a_negated_diagonal_punishes_a_pair_for_itself():
    scores = -torch.eye(2, dtype=torch.float64)
    assert hinge(scores, MARGIN).item() == pytest.approx(4 * (MARGIN + 1))
    assert hinge(scores, MARGIN, negated_diagonal=True).item() == pytest.approx(4 * (MARGIN + 2))


def test_an_empty_batch_has_no_loss():
    assert hinge(torch.zeros(0, 0), MARGIN).item() == 0


def pairs(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, 3, generator=generator, dtype=torch.float64).requires_grad_() for rows in (4, 2)]


def test_similarities_are_those_of_the_equations():
    images, texts = pairs()
    for measure in ("cosine", "order"):
        found = similarities(images, texts, measure).tolist()
        for row, image in zip(found, images.tolist(), strict=True):
            for score, text in zip(row, texts.tolist(), strict=True):
                both = list(zip(image, text, strict=True))
                product = sum(x * y for x, y in both)
                order = -math.sqrt(sum(max(0.0, y - x) ** 2 for x, y in both))
                assert score == pytest.approx(product if measure == "cosine" else order, abs=1e-12)


def test_gradients_of_the_order():
    assert torch.autograd.gradcheck(lambda images, texts: similarities(images, texts, "order"), pairs())
    images, texts = torch.ones(2, 3, requires_grad=True), torch.zeros(2, 3, requires_grad=True)
    similarities(images, texts, "order").sum().backward()  # the length of nothing
    assert not images.grad.any()
    assert not texts.grad.any()
