"""Bidirectional InfoNCE equals a literal loop of its equations."""

import math

import pytest
import torch

from models.losses.info_nce import info_nce, matched_pairs, pair_logits


def literal(images, texts, temperature, image_weight, text_weight, normalise) -> float:
    """ConVIRT's equations 2 to 4, one pair after another."""

    def similarity(a, b):
        product = sum(x * y for x, y in zip(a, b, strict=True))
        lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b))
        return (product / lengths if normalise else product) / temperature

    images, texts, total = images.tolist(), texts.tolist(), 0.0
    for image, text in zip(images, texts, strict=True):
        to_text = sum(math.exp(similarity(image, other)) for other in texts)
        to_image = sum(math.exp(similarity(other, text)) for other in images)
        total -= image_weight * math.log(math.exp(similarity(image, text)) / to_text)
        total -= text_weight * math.log(math.exp(similarity(image, text)) / to_image)
    return total / len(images)


def pairs(rows=4, dim=6, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, dim, generator=generator, dtype=dtype).requires_grad_() for _ in range(2)]


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize(("image_weight", "text_weight"), [(0.5, None), (0.75, None), (1.0, 1.0), (0.0, 1.0), (1, 0)])
def test_equals_the_equations(image_weight, text_weight, normalise):
    images, texts = pairs()
    weights = (image_weight, 1 - image_weight if text_weight is None else text_weight)
    expected = literal(images, texts, 0.7, *weights, normalise)
    ours = info_nce(images, texts, 0.7, image_weight, text_weight, normalise)
    assert ours.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("normalise", [True, False])
def test_gradients_of_both_sides_and_of_the_temperature(normalise):
    images, texts = pairs()
    temperature = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *given: info_nce(*given, 0.75, None, normalise), (images, texts, temperature)
    )


def test_the_mean_of_directions_is_half_their_sum():
    images, texts = pairs()
    assert info_nce(images, texts, 0.1, 1, 1).item() == pytest.approx(2 * info_nce(images, texts, 0.1).item())


def test_half_precision_is_computed_in_float32():
    images, texts = (side.detach() for side in pairs(16, 32, dtype=torch.float32))
    half = (images.bfloat16(), texts.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        loss = info_nce(*half, 0.1)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(info_nce(half[0].float(), half[1].float(), 0.1).item(), rel=1e-6)


def test_a_pair_alone_and_no_pair_at_all_are_zero_and_can_be_differentiated():
    for rows in (1, 0):
        images, texts = pairs(rows)
        loss = info_nce(images, texts, 0.1)
        loss.backward()
        assert loss.item() == 0
        assert torch.equal(images.grad, torch.zeros_like(images))


def test_a_vector_of_zeros_is_finite():
    images, texts = torch.zeros(3, 5, requires_grad=True), torch.randn(3, 5)
    info_nce(images, texts, 0.1).backward()
    assert images.grad.isfinite().all()


def test_unequal_sides_are_refused():
    with pytest.raises(ValueError, match="as many images as texts"):
        matched_pairs(pair_logits(torch.randn(3, 4), torch.randn(2, 4), 0.1))
