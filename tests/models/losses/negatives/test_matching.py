"""Mismatched pairs are a derangement that spares equal texts, and their loss is that of the equation."""

import math
from collections import Counter

import pytest
import torch

from models.losses.negatives.matching import matching_loss
from models.losses.negatives.mismatched import mismatched


@pytest.mark.parametrize("groups", [[0, 1, 2, 3, 4], [7, 7, 1, 2, 7, 3], [5, 5, 2, 2], [-1, 9], [4, 4, 4, 8, 8, 1, 2]])
def test_every_text_is_drawn_once_and_never_for_its_equal(groups):
    given = torch.tensor(groups)
    for seed in range(20):
        torch.manual_seed(seed)
        chosen, known = mismatched(given)
        assert sorted(chosen.tolist()) == list(range(len(groups)))
        assert known.all()
        assert all(groups[row] != groups[other] for row, other in enumerate(chosen.tolist()))


@pytest.mark.parametrize(("groups", "unavoidable"), [([3], 1), ([3, 3], 2), ([3, 3, 3, 1], 2), ([2, 2, 2, 2, 5, 6], 2)])
def test_where_most_texts_are_equal_as_few_as_possible_stay(groups, unavoidable):
    given = torch.tensor(groups)
    chosen, known = mismatched(given)
    assert sorted(chosen.tolist()) == list(range(len(groups)))
    assert (~known).sum() == unavoidable
    assert known.tolist() == [groups[row] != groups[other] for row, other in enumerate(chosen.tolist())]


def test_others_are_drawn_evenly():
    torch.manual_seed(0)
    counts = Counter(
        (row, other) for _ in range(2000) for row, other in enumerate(mismatched(torch.arange(4))[0].tolist())
    )
    assert len(counts) == 12
    assert all(abs(count - 2000 / 3) < 100 for count in counts.values())  # 4.7 standard deviations


def test_nothing_is_drawn_of_nothing():
    chosen, known = mismatched(torch.zeros(0, dtype=torch.long))
    assert len(chosen) == len(known) == 0


LOGITS = torch.tensor([1.5, -2.0, 0.3], dtype=torch.float64), torch.tensor([0.7, 4.0, -1.0], dtype=torch.float64)


@pytest.mark.parametrize("known", [[True, True, True], [True, False, True], [False, False, False]])
def test_the_loss_is_that_of_the_equation(known):
    matched, others = LOGITS
    found = sum(-math.log(1 / (1 + math.exp(-x))) for x in matched.tolist()) / 3
    refused = [-math.log(1 - 1 / (1 + math.exp(-x))) for x, kept in zip(others.tolist(), known, strict=True) if kept]
    expected = (found + sum(refused) / max(1, len(refused))) / 2
    assert matching_loss(matched, others, torch.tensor(known)).item() == pytest.approx(expected, rel=1e-12)


def test_gradients():
    known = torch.tensor([True, False, True])
    given = [logits.clone().requires_grad_() for logits in LOGITS]
    assert torch.autograd.gradcheck(lambda *logits: matching_loss(*logits, known), given)


def test_an_empty_batch_has_no_loss():
    none = torch.zeros(0)
    assert matching_loss(none, none, none.bool()).item() == 0
