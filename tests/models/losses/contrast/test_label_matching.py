"""MedCLIP's semantic matching loss equals a literal loop of its definition."""

import math

import pytest
import torch

from models.losses.contrast.label_matching import label_similarity, soft_matching, soft_targets
from models.losses.info_nce import matched_pairs


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LABELS = torch.tensor([[1, 0, 0, -1], [0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 0, 0]], dtype=torch.float64)


@pytest.mark.parametrize("kind", ["cosine", "dot"])
def test_similarity_of_labels(kind):
    found = label_similarity(LABELS, LABELS.flip(0), kind)
    for row, image in enumerate(LABELS.tolist()):
        for column, text in enumerate(LABELS.flip(0).tolist()):
            product = sum(a * b for a, b in zip(image, text, strict=True))
            lengths = math.sqrt(sum(a * a for a in image) * sum(b * b for b in text)) if kind == "cosine" else 1
            assert found[row, column].item() == pytest.approx(product / lengths if product else 0)


def test_an_unknown_similarity_is_one_sentence():
    with pytest.raises(ValueError, match="compared by `cosine` or `dot`, not by `euclid`"):
        label_similarity(LABELS, LABELS, "euclid")


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_loss_equals_the_definition(temperature):
    logits, similarity = numbers(4, 4), numbers(4, 4, seed=1)
    targets = soft_targets(similarity, torch.ones(4, dtype=torch.bool), temperature)
    expected = 0.0
    for own, other in ((logits, similarity), (logits.T, similarity.T)):
        for row in range(4):
            weights = [math.exp(value / temperature) for value in other[row].tolist()]
            whole = sum(math.exp(value) for value in own[row].tolist())
            for weight, value in zip(weights, own[row].tolist(), strict=True):
                expected -= weight / sum(weights) * math.log(math.exp(value) / whole) / 4 / 2
    assert soft_matching(logits, *targets).item() == pytest.approx(expected, rel=1e-12)


def test_pairs_of_unknown_labels_have_each_other_and_are_no_target_of_others():
    known = torch.tensor([True, False, True, False])
    by_image, by_text = soft_targets(numbers(4, 4), known)
    for targets in (by_image, by_text):
        assert torch.equal(targets[~known], torch.eye(4, dtype=torch.float64)[~known])
        assert torch.equal(targets[:, ~known], torch.eye(4, dtype=torch.float64)[:, ~known])
    torch.testing.assert_close(by_image.sum(1), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(by_text.sum(0), torch.ones(4, dtype=torch.float64))
    nothing = soft_targets(numbers(4, 4), torch.zeros(4, dtype=torch.bool))
    logits = numbers(4, 4, seed=2)
    assert soft_matching(logits, *nothing).item() == pytest.approx(matched_pairs(logits).item(), rel=1e-12)


def test_gradients():
    targets = soft_targets(numbers(4, 4, seed=1), torch.tensor([True, True, False, True]))
    assert torch.autograd.gradcheck(lambda logits: soft_matching(logits, *targets), numbers(4, 4).requires_grad_())


def test_an_empty_batch_has_no_loss():
    empty = torch.zeros(0, 0, requires_grad=True)
    soft_matching(empty, *soft_targets(empty, torch.ones(0, dtype=torch.bool))).backward()
    assert empty.grad is not None
