"""The contrast with a queue equals a literal loop of MoCo's equation, and no gradient reaches the keys."""

import math

import pytest
import torch
import torch.nn.functional as F

from models.losses.negatives.queue_contrast import queue_contrast


def rows(count, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, 5, generator=generator, dtype=dtype), dim=-1).requires_grad_()


def test_equals_the_equation():
    queries, keys, queue = rows(3, 0), rows(3, 1), rows(7, 2)
    total = 0.0
    for query, key in zip(queries.tolist(), keys.tolist(), strict=True):
        logits = [sum(x * y for x, y in zip(query, other, strict=True)) / 0.2 for other in [key, *queue.tolist()]]
        total -= logits[0] - math.log(sum(map(math.exp, logits)))
    assert queue_contrast(queries, keys, queue, 0.2).item() == pytest.approx(total / 3, rel=1e-12)


def test_gradients():
    keys, queue = rows(3, 1).detach(), rows(7, 2).detach()
    assert torch.autograd.gradcheck(lambda queries: queue_contrast(queries, keys, queue, 0.2), rows(3, 0))
    queries, keys = rows(3, 0), rows(3, 1)
    queue_contrast(queries, keys, queue, 0.2).backward()
    assert queries.grad.abs().min() > 0
    assert keys.grad is None


def test_half_precision_is_computed_in_single():
    given = [rows(count, seed, torch.float32).detach().bfloat16() for seed, count in enumerate((3, 3, 7))]
    with torch.autocast("cpu", torch.bfloat16):
        loss = queue_contrast(*given, 0.07)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(queue_contrast(*(part.double() for part in given), 0.07).item(), rel=1e-5)


def test_an_empty_batch_has_no_loss():
    assert queue_contrast(rows(0, 0), rows(0, 1), rows(7, 2), 0.2).item() == 0
