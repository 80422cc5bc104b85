"""NT-Xent equals a literal loop of its equation, whatever its options."""

import math

import pytest
import torch

from models.losses.negatives.nt_xent import nt_xent


def views(count=2, images=4, dim=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, images, dim, generator=generator, dtype=torch.float64).requires_grad_()


def literal(given, temperature, normalise, sum_views):
    """Equation 1 of SimCLR, one view after another; the match of a view is the first other view of its image."""
    count, images, _ = given.shape
    rows = {(view, image): given[view, image].tolist() for view in range(count) for image in range(images)}

    def similarity(a, b):
        product = sum(x * y for x, y in zip(a, b, strict=True))
        lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b))
        return (product / lengths if normalise else product) / temperature

    means = []
    for view in range(count):
        total = 0.0
        for image in range(images):
            own = rows[view, image]
            match = rows[next(other for other in range(count) if other != view), image]
            others = [row for place, row in rows.items() if place != (view, image)]
            total -= similarity(own, match) - math.log(sum(math.exp(similarity(own, other)) for other in others))
        means.append(total / images)
    return sum(means) if sum_views else sum(means) / count


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("sum_views", [True, False])
def test_equals_the_equation(count, normalise, sum_views):
    given = views(count)
    expected = literal(given.detach(), 0.7, normalise, sum_views)
    assert nt_xent(given, 0.7, normalise, sum_views).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("normalise", [True, False])
def test_gradients(normalise):
    assert torch.autograd.gradcheck(lambda given: nt_xent(given, 0.5, normalise), views())


def test_half_precision_is_computed_in_single():
    given = views().detach().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss = nt_xent(given, 0.1)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(nt_xent(given.double(), 0.1).item(), rel=1e-5)


def test_an_empty_batch_has_no_loss():
    assert nt_xent(views(images=0), 0.1).item() == 0
