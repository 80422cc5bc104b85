"""ALBEF's contrast equals a literal loop of its definition; its negatives are hard, and never an image's own."""

import math

import pytest
import torch

from models.errors import ModelError
from models.losses.contrast.distilled_contrast import (
    candidate_logits,
    distilled_contrast,
    distilled_targets,
    true_candidates,
)
from models.losses.negatives.hard_negatives import draw_negatives


def unit(*shape, seed=0):
    vectors = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return vectors / vectors.norm(dim=-1, keepdim=True)


def literal(images, keys, queue, momentum_images, alpha, temperature) -> float:
    """Image to text, one image after another."""
    candidates, loss = [*keys, *queue], 0.0
    for row in range(len(images)):
        logits = [(images[row] @ other).item() / temperature for other in candidates]
        thought = [math.exp((momentum_images[row] @ other).item() / temperature) for other in candidates]
        whole = math.log(sum(math.exp(logit) for logit in logits))
        for place, logit in enumerate(logits):
            target = alpha * thought[place] / sum(thought) + (1 - alpha) * (place == row)
            loss -= target * (logit - whole) / len(images)
    return loss


@pytest.mark.parametrize("alpha", [0.0, 0.4])
def test_loss_equals_the_definition(alpha):
    images, keys, queue, momentum_images = unit(3, 5), unit(3, 5, seed=1), unit(7, 5, seed=2), unit(3, 5, seed=3)
    temperature = torch.tensor(0.2, dtype=torch.float64)
    logits = candidate_logits(images, keys, queue, temperature)
    thought = candidate_logits(momentum_images, keys, queue, temperature)
    targets = distilled_targets(thought, true_candidates(images, 7), alpha)
    found = distilled_contrast(logits, targets)
    assert found.item() == pytest.approx(literal(images, keys, queue, momentum_images, alpha, 0.2), rel=1e-12)


def test_gradients_reach_vectors_and_temperature_but_no_candidate():
    images, keys, queue = unit(3, 5).requires_grad_(), unit(3, 5, seed=1).requires_grad_(), unit(7, 5, seed=2)
    temperature = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    targets = true_candidates(images, 7)
    assert torch.autograd.gradcheck(
        lambda vectors, tau: distilled_contrast(candidate_logits(vectors, keys, queue, tau), targets),
        (images, temperature),
    )
    distilled_contrast(candidate_logits(images, keys, queue, temperature), targets).backward()
    assert keys.grad is None


def test_equal_texts_share_the_truth():
    equal = torch.tensor([[True, False, True, True], [False, True, False, False]])
    found = true_candidates(unit(2, 5), 2, equal)
    torch.testing.assert_close(found, torch.tensor([[1 / 3, 0, 1 / 3, 1 / 3], [0, 1, 0, 0]], dtype=torch.float64))
    assert torch.equal(true_candidates(unit(2, 5), 2), torch.eye(2, 4, dtype=torch.float64))


def test_negatives_are_drawn_by_similarity_and_never_the_own():
    torch.manual_seed(0)
    logits = torch.tensor([[5.0, 2.0, 0.0], [0.0, 5.0, 0.0], [1.0, 1.0, 5.0]])
    drawn = torch.stack([draw_negatives(logits, floor=0) for _ in range(2000)])
    assert not (drawn == torch.arange(3)).any()
    assert (drawn[:, 0] == 1).float().mean().item() == pytest.approx(math.e**2 / (math.e**2 + 1), abs=0.03)
    assert (drawn[:, 1] == 0).float().mean().item() == pytest.approx(0.5, abs=0.04)


def test_large_logits_and_equal_texts_leave_somebody_to_draw():
    logits = torch.eye(4) * 1e4  # the softmax of all others underflows
    for _ in range(20):
        assert not (draw_negatives(logits) == torch.arange(4)).any()
    equal = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]], dtype=torch.bool)
    drawn = torch.stack([draw_negatives(logits, equal) for _ in range(20)])
    assert (drawn[:, :3] == 3).all()
    everybody = torch.ones(4, 4, dtype=torch.bool)
    assert not (draw_negatives(logits, everybody) == torch.arange(4)).any()
    assert draw_negatives(torch.full((3, 3), torch.nan)).shape == (3,)
    with pytest.raises(ModelError, match="no negative is left to draw for the matching"):
        draw_negatives(logits, floor=0)
