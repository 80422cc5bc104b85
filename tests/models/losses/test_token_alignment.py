import math

import pytest
import torch
import torch.nn.functional as F

from models.losses.token_alignment import attention_weights, masked_quantile, token_alignment


def sample(seed, batch=3, length=5, dim=4):
    generator = torch.Generator().manual_seed(seed)
    tokens, attended = (
        F.normalize(torch.randn(batch, length, dim, generator=generator, dtype=torch.float64), dim=-1) for _ in range(2)
    )
    lengths = torch.tensor([length, 1, 3])[:batch]
    mask = torch.arange(length) < lengths[:, None]
    weights = torch.rand(batch, length, generator=generator, dtype=torch.float64) * mask
    return tokens, attended, weights, mask


def literal(tokens, attended, weights, mask, temperature):
    """Equation 5 of one sample, token by token."""
    there = [j for j in range(len(tokens)) if mask[j]]
    loss = 0.0
    for j in there:
        own = float(tokens[j] @ attended[j]) / temperature
        to_attended = sum(math.exp(float(tokens[j] @ attended[k]) / temperature) for k in there)
        to_tokens = sum(math.exp(float(tokens[k] @ attended[j]) / temperature) for k in there)
        loss -= float(weights[j]) * (own - math.log(to_attended) + own - math.log(to_tokens)) / 2
    return loss


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_equals_the_literal_equation(seed, temperature):
    tokens, attended, weights, mask = sample(seed)
    ours = token_alignment(tokens, attended, weights, mask, temperature)
    for row in range(len(tokens)):
        expected = literal(tokens[row], attended[row], weights[row], mask[row], temperature)
        assert ours[row].item() == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_gradients():
    tokens, attended, weights, mask = sample(0)
    tokens, attended = tokens.requires_grad_(), attended.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: token_alignment(a, b, weights, mask, 0.2), (tokens, attended))


def test_what_lies_in_the_padding_changes_nothing():
    tokens, attended, weights, mask = sample(1)
    padding = ~mask[..., None]
    other = token_alignment(tokens + 3 * padding, attended - 2 * padding, weights, mask, 0.1)
    torch.testing.assert_close(other, token_alignment(tokens, attended, weights, mask, 0.1), rtol=1e-12, atol=0)


def test_padding_kept_as_negatives_raises_the_loss():
    tokens, attended, weights, mask = sample(1)
    kept = token_alignment(tokens, attended, weights, torch.ones_like(mask), 0.1)
    assert (kept[~mask.all(1)] > token_alignment(tokens, attended, weights, mask, 0.1)[~mask.all(1)]).all()


def test_a_sample_without_tokens_contributes_a_zero_that_can_be_differentiated():
    tokens, attended, weights, mask = sample(2)
    mask[1], weights[1] = False, 0
    tokens.requires_grad_()
    loss = token_alignment(tokens, attended, weights, mask, 0.1)
    loss.sum().backward()
    assert loss[1].item() == 0
    assert tokens.grad.isfinite().all()
    assert (tokens.grad[1] == 0).all()


def test_half_precision_is_computed_in_single():
    tokens, attended, weights, mask = sample(0)
    with torch.autocast("cpu", torch.bfloat16):
        loss = token_alignment(tokens.bfloat16(), attended.bfloat16(), weights.float(), mask, 0.07)
    assert loss.dtype == torch.float32
    rounded = token_alignment(tokens.bfloat16().double(), attended.bfloat16().double(), weights, mask, 0.07)
    torch.testing.assert_close(loss.double(), rounded, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("quantile", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_masked_quantile_is_that_of_the_entries_in_the_mask(quantile):
    values = torch.randn(6, 11, dtype=torch.float64)
    mask = torch.rand(6, 11) < 0.5
    mask[0], mask[1], mask[2] = True, False, torch.arange(11) == 4
    ours = masked_quantile(values, mask, quantile)
    for row in range(6):
        expected = torch.quantile(values[row, mask[row]], quantile) if mask[row].any() else 0.0
        assert ours[row].item() == pytest.approx(float(expected), rel=1e-12)


def test_weights_of_the_paper_are_the_attention_over_the_number_of_tokens():
    attention = torch.tensor([[0.2, 0.5, 0.1, 0.2], [0.5, 0.3, 0.0, 0.0]], dtype=torch.float64)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    expected = torch.tensor([[0.05, 0.125, 0.025, 0.05], [0.25, 0.15, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(attention_weights(attention, mask), expected)


def test_clipped_weights_sum_to_one_and_leave_their_input_as_it_was():
    attention = torch.rand(4, 12, dtype=torch.float64)
    attention[1, 5:], attention[2] = 0, 0
    before = attention.clone()
    mask = torch.ones(4, 12, dtype=torch.bool)
    weights = attention_weights(attention, mask, clipped=True)
    torch.testing.assert_close(weights.sum(1), torch.tensor([1.0, 1, 0, 1], dtype=torch.float64))
    assert ((weights == 0) == (attention == 0)).all()
    assert torch.equal(attention, before)
    some = attention[0].clamp(*torch.quantile(attention[0], torch.tensor([0.1, 0.9], dtype=torch.float64)))
    torch.testing.assert_close(weights[0], some / some.sum(), rtol=1e-12, atol=0)
