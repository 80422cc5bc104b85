import math

import pytest
import torch
import torch.nn.functional as F

from models.encoders.fusion.cross_attention import CrossAttention


def sides():
    torch.manual_seed(0)
    queries, keys = (F.normalize(torch.randn(2, length, 4, dtype=torch.float64), dim=-1) for length in (3, 5))
    return queries, keys, torch.tensor([[True] * 5, [True, True, False, False, False]])


def test_cosines_equal_a_literal_softmax():
    queries, keys, mask = sides()
    attention = CrossAttention(4, 0, 0.1)
    seen, weights = attention(queries, keys, mask), attention.weights(queries, keys, mask)
    for row in range(2):
        for i in range(3):
            exponentials = [math.exp(float(queries[row, i] @ key) / 0.1) * int(there)
                            for key, there in zip(keys[row], mask[row], strict=True)]  # fmt: skip
            expected = [value / sum(exponentials) for value in exponentials]
            assert weights[row, i].tolist() == pytest.approx(expected, rel=1e-10)
            torch.testing.assert_close(seen[row, i], torch.tensor(expected, dtype=torch.float64) @ keys[row])


def test_learned_attention_is_equation_4():
    queries, keys, mask = sides()
    attention = CrossAttention(4, 1, 1.0).double()
    learned = attention.learned
    q, k, v = (part.T for part in learned.in_proj_weight.chunk(3))
    logits = (queries @ q) @ (keys @ k).mT / math.sqrt(4)
    weights = logits.masked_fill(~mask[:, None], -torch.inf).softmax(-1)
    torch.testing.assert_close(attention(queries, keys, mask), weights @ (keys @ v) @ learned.out_proj.weight.T)
    torch.testing.assert_close(attention.weights(queries, keys, mask), weights)


@pytest.mark.parametrize("heads", [0, 2])
def test_gradients_and_nothing_to_look_at(heads):
    queries, keys, mask = sides()
    mask[1] = False
    attention = CrossAttention(4, heads, 0.2).double()
    assert attention(queries, keys, mask).isfinite().all()
    inputs = queries.requires_grad_(), keys.requires_grad_()
    assert torch.autograd.gradcheck(lambda *given: attention(*given, mask), inputs)


@pytest.mark.parametrize("heads", [0, 2])
def test_masked_keys_change_nothing(heads):
    queries, keys, mask = sides()
    attention = CrossAttention(4, heads, 0.2).double()
    other = torch.where(mask[..., None], keys, 5.0)
    torch.testing.assert_close(attention(queries, other, mask), attention(queries, keys, mask))


def test_cosines_are_computed_in_single_precision():
    queries, keys, mask = (side.bfloat16() if side.is_floating_point() else side for side in sides())
    with torch.autocast("cpu", torch.bfloat16):
        assert CrossAttention(4, 0, 0.1)(queries, keys, mask).dtype == torch.float32
