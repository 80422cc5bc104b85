"""Each loss equals a literal loop of its equation."""

import math

import pytest
import torch

from models.losses.existence import existence_loss
from models.losses.position import position_loss, sample_positions


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("width", [1, 2])
def test_existence_is_the_mean_over_mentioned_entities(seed, width):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(4, 6, width, generator=generator, dtype=torch.float64)
    labels = torch.randint(-1, 3, (4, 6), generator=generator)
    terms = []
    for i in range(4):
        for q in range(6):
            if labels[i, q] in (0, 1):
                margin = float(logits[i, q, 0] if width == 1 else logits[i, q, 1] - logits[i, q, 0])
                sign = 1 if labels[i, q] == 1 else -1
                terms.append(math.log1p(math.exp(-sign * margin)))
    assert existence_loss(logits, labels).item() == pytest.approx(sum(terms) / len(terms), rel=1e-12)


@pytest.mark.parametrize("width", [1, 2])
def test_gradients_are_those_of_the_values(width):
    torch.manual_seed(0)
    logits = torch.randn(2, 4, width, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[1, 0, -1, 2], [0, 1, 1, -1]])
    assert torch.autograd.gradcheck(lambda values: existence_loss(values, labels), logits)
    predicted = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    book, candidates = torch.randn(6, 5, dtype=torch.float64), torch.tensor([[0, 1, 2], [3, 3, 0], [5, 4, 1]])
    assert torch.autograd.gradcheck(lambda values: position_loss(values, book, candidates), predicted)


def test_losses_are_computed_in_float32_under_autocast():
    torch.manual_seed(0)
    logits, labels = torch.randn(8, 9, 1), torch.randint(-1, 2, (8, 9))
    predicted, book, candidates = torch.randn(8, 64), torch.randn(6, 64), torch.randint(6, (8, 3))
    plain = existence_loss(logits, labels), position_loss(predicted, book, candidates)
    with torch.autocast("cpu", torch.bfloat16):
        assert (existence_loss(logits, labels), position_loss(predicted, book, candidates)) == plain
        assert existence_loss(logits.bfloat16(), labels).dtype == torch.float32


def test_nothing_mentioned_is_a_zero_that_can_be_differentiated():
    logits = torch.randn(2, 3, 1, requires_grad=True)
    loss = existence_loss(logits, torch.full((2, 3), -1))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_unmentioned_entities_get_no_gradient():
    logits = torch.randn(1, 4, 1, requires_grad=True)
    existence_loss(logits, torch.tensor([[1, 0, -1, 2]])).backward()
    assert (logits.grad[0, :2] != 0).all()
    assert (logits.grad[0, 2:] == 0).all()


def test_position_is_a_cross_entropy_of_inner_products():
    torch.manual_seed(0)
    predicted, book = torch.randn(5, 7, dtype=torch.float64), torch.randn(9, 7, dtype=torch.float64)
    candidates = torch.stack([torch.randperm(9)[:4] for _ in range(5)])
    total = 0.0
    for vector, chosen in zip(predicted, candidates, strict=True):
        scores = [float(vector @ book[index]) for index in chosen]
        total += math.log(sum(math.exp(score) for score in scores)) - scores[0]
    assert position_loss(predicted, book, candidates).item() == pytest.approx(total / 5, rel=1e-12)


def test_no_present_entity_is_a_zero_that_can_be_differentiated():
    predicted = torch.randn(0, 7, requires_grad=True)
    loss = position_loss(predicted, torch.randn(9, 7), torch.zeros(0, 4, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0


def test_sampling_takes_every_position_in_turn():
    targets = torch.full((1, 6, 2), -1, dtype=torch.int8)
    targets[0, [1, 4], 0] = 1
    targets[0, 2, 1] = 0
    torch.manual_seed(0)
    drawn = [sample_positions(targets, 3) for _ in range(60)]
    assert all(where.tolist() == [[0, 0]] for where, _ in drawn)
    assert {int(candidates[0, 0]) for _, candidates in drawn} == {1, 4}
    assert {int(index) for _, candidates in drawn for index in candidates[0, 1:]} == {0, 2, 3, 5}


def test_sampling_with_fewer_negatives_than_asked_for():
    targets = torch.ones((1, 3, 1), dtype=torch.int8)
    targets[0, 2] = 0
    torch.manual_seed(0)
    _, candidates = sample_positions(targets, 7)
    assert candidates.shape == (1, 2)
    assert int(candidates[0, 1]) == 2


def test_negatives_of_the_matrix_are_positions_of_cells_that_are_not_present():
    targets = torch.ones((1, 4, 3), dtype=torch.int8)
    targets[0, 1] = torch.tensor([0, -1, 1])
    targets[0, 3, 2] = 0
    torch.manual_seed(0)
    where, candidates = sample_positions(targets, 7, "matrix")
    assert where.tolist() == [[0, 0], [0, 1], [0, 2]]
    assert candidates[:, 1:].sort().values.tolist() == [[1, 1, 3]] * 3  # three such cells, none drawn twice
