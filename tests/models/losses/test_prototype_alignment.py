import math

import pytest
import torch
import torch.nn.functional as F

from models.losses.prototype_alignment import prototype_alignment
from models.losses.sinkhorn import sinkhorn


def vectors(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def literal_sinkhorn(logits, epsilon, iterations):
    """The scaling as it is written down, one row and one column at a time."""
    count, prototypes = logits.shape
    q = [[math.exp(float(logits[i, k]) / epsilon) for i in range(count)] for k in range(prototypes)]
    total = sum(map(sum, q))
    q = [[value / total for value in row] for row in q]
    for _ in range(iterations):
        q = [[value / sum(row) / prototypes for value in row] for row in q]
        columns = [sum(row[i] for row in q) for i in range(count)]
        q = [[value / columns[i] / count for i, value in enumerate(row)] for row in q]
    columns = [sum(row[i] for row in q) for i in range(count)]
    return torch.tensor([[q[k][i] / columns[i] for k in range(prototypes)] for i in range(count)], dtype=torch.float64)


@pytest.mark.parametrize("iterations", [0, 1, 3, 5])
@pytest.mark.parametrize("shape", [(5, 11), (9, 4)])
def test_sinkhorn_equals_the_literal_scaling(iterations, shape):
    logits = vectors(0, shape[0], 6) @ vectors(1, shape[1], 6).T
    ours = sinkhorn(logits, 0.05, iterations)
    torch.testing.assert_close(ours, literal_sinkhorn(logits, 0.05, iterations), rtol=1e-10, atol=1e-14)


def test_sinkhorn_ends_in_equal_shares():
    code = sinkhorn(vectors(0, 40, 6) @ vectors(1, 8, 6).T, 0.05, 500)
    torch.testing.assert_close(code.sum(1), torch.ones(40, dtype=torch.float64))
    torch.testing.assert_close(code.sum(0), torch.full((8,), 5.0, dtype=torch.float64))


def test_sinkhorn_neither_overflows_nor_divides_by_zero():
    for dtype in (torch.float32, torch.bfloat16):
        logits = (vectors(0, 6, 3) @ vectors(1, 50, 3).T).to(dtype).requires_grad_()
        code = sinkhorn(logits, 0.001)
        assert code.dtype == torch.float32
        assert not code.requires_grad
        assert code.isfinite().all()
        torch.testing.assert_close(code.sum(1), torch.ones(6))
    assert sinkhorn(torch.zeros(0, 4)).shape == (0, 4)


def test_sinkhorn_names_the_option_that_cannot_be():
    with pytest.raises(ValueError, match="epsilon is 0"):
        sinkhorn(torch.zeros(2, 3), epsilon=0)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_alignment_equals_the_literal_equation(temperature):
    images, texts, prototypes = vectors(0, 5, 6), vectors(1, 5, 6), vectors(2, 11, 6)
    loss = 0.0
    for seen, other in ((images, texts), (texts, images)):
        code = literal_sinkhorn(other @ prototypes.T, 0.05, 3)
        for i in range(5):
            scores = [float(seen[i] @ prototype) / temperature for prototype in prototypes]
            total = math.log(sum(map(math.exp, scores)))
            loss -= sum(float(code[i, k]) * (scores[k] - total) for k in range(11)) / 5 / 2
    ours = prototype_alignment(images, texts, prototypes, temperature)
    assert ours.item() == pytest.approx(loss, rel=1e-8)  # codes are float32


def test_gradients_leave_the_codes_out():
    """gradcheck would move the codes too: they are held by an epsilon so large that nothing moves them."""
    inputs = [vectors(seed, count, 4).requires_grad_() for seed, count in ((0, 3), (1, 3), (2, 5))]
    assert torch.autograd.gradcheck(lambda *given: prototype_alignment(*given, epsilon=1e9), inputs)


def test_an_empty_batch_is_a_zero_that_can_be_differentiated():
    images = torch.zeros(0, 4, requires_grad=True)
    loss = prototype_alignment(images, torch.zeros(0, 4), torch.randn(7, 4))
    loss.backward()
    assert loss.item() == 0


def test_half_precision_is_computed_in_single():
    images, texts, prototypes = (vectors(seed, 5, 6).bfloat16() for seed in range(3))
    with torch.autocast("cpu", torch.bfloat16):
        loss = prototype_alignment(images, texts, prototypes)
    assert loss.dtype == torch.float32
    expected = prototype_alignment(images.double(), texts.double(), prototypes.double())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
